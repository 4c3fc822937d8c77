"""Counts, sums and buckets per variant over a window, from where they are kept."""
