"""Suites of many trainers at work for longer."""
