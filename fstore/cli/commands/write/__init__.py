"""Verbs for whoever writes features."""
