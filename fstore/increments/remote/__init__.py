"""Partitions of sources in buckets.

The table of all, and the rows of those that are wanted, by ranges.
"""
