"""Finding out whether a feature is what it declares: which rows a partition really depends on."""
