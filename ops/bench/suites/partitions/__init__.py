"""Measurements of partitions that are parts of other suites."""
