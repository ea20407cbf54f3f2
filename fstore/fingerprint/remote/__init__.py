"""Raw data in buckets: what lies at an address, of which version, and copies of it on this host."""
