"""Identity of raw data: canonical streams, footers, sources, seals."""
