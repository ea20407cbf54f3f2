"""Garbage collection: what is kept, what is found, the plan that is made of it, and its carrying out."""
