"""Many computations in one task, and their results that are published in groups."""
