"""What is done to rows between a file and sealed Parquet.

Cells to values, local times to instants, newest first to oldest first.
"""
