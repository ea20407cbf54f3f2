"""Any raw data to sealed Parquet."""
