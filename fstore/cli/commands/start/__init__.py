"""Begin: a local stack, what it says, and whether all is well."""
