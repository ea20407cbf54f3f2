"""What users and backends test themselves with; needs pytest."""
