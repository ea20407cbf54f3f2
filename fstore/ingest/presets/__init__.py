"""The layouts in which vendors publish market data.

A table of records, and what reads files by one of them.
"""
