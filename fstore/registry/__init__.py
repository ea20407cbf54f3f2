"""How the version of a feature is derived from its source, and how its name is found."""
