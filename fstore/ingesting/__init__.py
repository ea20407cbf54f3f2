"""How raw data in other forms are read; ``fstore.ingest`` is the face."""
