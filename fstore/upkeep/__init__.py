"""The store is looked after: garbage collection, sweeps, reconciling, usage."""
