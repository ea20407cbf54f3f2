"""Upkeep by hand."""
