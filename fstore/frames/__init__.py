"""pandas and Arrow without loss."""
