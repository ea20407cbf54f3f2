"""Ticks, quotes, orders and bars as the built-in features read them."""
