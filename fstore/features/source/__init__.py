"""The source of a feature: what of it, and of the modules it leans on, can change results."""
