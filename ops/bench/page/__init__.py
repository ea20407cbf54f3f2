"""The page about a run: its text, its tables and its pictures."""
