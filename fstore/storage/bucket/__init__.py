"""Entries and staged data in a bucket of an object store."""
