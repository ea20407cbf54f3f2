"""Random frames, random functions and a strict comparison: what the differential fuzz is made of."""
