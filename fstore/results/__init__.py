"""Results as tables and back: what is read equals what was returned."""
