"""Files of entries and staged data."""
