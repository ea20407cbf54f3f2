"""Random faults by a seed, and a checker that reads the history afterwards."""
