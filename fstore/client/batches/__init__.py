"""Many requests in one call: taken, begun while the rest is taken, and answered as results come."""
