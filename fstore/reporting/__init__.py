"""The store in numbers: stats, Prometheus, the report."""
