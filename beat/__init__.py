"""Celery Beat: ``celery -A beat.app beat``."""
