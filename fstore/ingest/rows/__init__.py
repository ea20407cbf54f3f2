"""What is done to rows between a file and sealed Parquet: cells to values, local times to instants, newest first to oldest first."""
