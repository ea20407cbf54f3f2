"""Every setting: schema, layers, rules."""
