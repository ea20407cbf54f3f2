"""What callables without a place of their own hold: code, cells, globals."""
