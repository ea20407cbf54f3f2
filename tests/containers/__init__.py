"""The operators' pages, walked on a real Docker Engine: ``make containers``."""
