"""How settings are written, gathered and checked; ``fstore.settings`` is the face."""
