"""Servers that tests start, and strict fakes of those that they can't."""
