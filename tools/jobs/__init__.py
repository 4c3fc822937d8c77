"""Work that outlives a request, one at a time per key."""
