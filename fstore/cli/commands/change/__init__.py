"""Put something into the store, or out of it."""
