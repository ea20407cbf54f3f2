"""Configs: which values they may hold, their canonical form, and the way back."""
