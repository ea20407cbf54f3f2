"""Partitions of sources in buckets: the table of all, and the rows of those that are wanted, by ranges."""
