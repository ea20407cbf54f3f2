"""What the suites are made of: a running store, processes in step, figures and their limits."""
