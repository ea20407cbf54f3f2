"""Look at the store, and change nothing."""
