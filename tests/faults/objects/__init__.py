"""Rows about object stores: what they answer, what the way to them does, and what becomes of who uses them."""
