"""What shares a file with others of its kind: small results, and raw data on their way to a worker."""
