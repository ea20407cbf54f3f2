"""A trainer asks: key, look up, lead or wait, fall back."""
