"""Read and set exposure in a flag service."""
