"""Celery workers: ``celery -A workers.app worker``."""

from fstore.runtime.systems import require_posix

require_posix("a worker")
