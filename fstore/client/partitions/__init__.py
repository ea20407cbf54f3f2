"""Requests for features with partitions: cut into segments, answered in parts, explained."""
