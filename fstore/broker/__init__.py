"""Celery: messages, sending, the signed transport."""
