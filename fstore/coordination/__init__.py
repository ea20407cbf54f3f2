"""Redis: dedup locks, notifications, the usage buffer."""
