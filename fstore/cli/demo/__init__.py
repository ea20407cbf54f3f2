"""fstore demo: twenty trainers share one cache."""
