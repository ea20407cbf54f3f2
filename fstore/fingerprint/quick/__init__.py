"""Digests of everyday data without the general machinery, the same to the letter."""
