"""A folder that all hosts mount as the place of a store."""
