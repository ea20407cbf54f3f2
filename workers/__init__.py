"""Celery workers: ``celery -A workers.app worker``."""
