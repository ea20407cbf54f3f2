"""A worker answers: plan, claim, run, publish, fail."""
