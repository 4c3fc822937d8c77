"""Who is in a group of people."""
