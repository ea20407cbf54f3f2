"""The layouts in which vendors publish market data: a table of records, and what reads files by one of them."""
