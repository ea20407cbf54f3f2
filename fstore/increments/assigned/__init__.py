"""Segments on their way to whoever computes them.

What a message says of one, and the rows that it needs.
"""
