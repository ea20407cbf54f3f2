"""Flower's settings in production: ``celery -A workers.app flower --conf=ops/flowerconfig.py``.

Flower without a password shows every task to everybody and lets them stop
workers, so it does not start without one. Each option can still be overridden by
``FLOWER_*`` variables or arguments, but for the password.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from fstore.broker import FLOWER_SETTINGS


def _secret(name: str) -> str:
    """Return the secret that a variable or the file named by ``<name>_FILE`` gives; empty when neither does."""
    path = os.environ.get(f"{name}_FILE")
    return Path(path).read_text(encoding="utf-8").strip() if path else os.environ.get(name, "")


_auth = _secret("FEATURE_STORE_FLOWER_AUTH")
_user, _, _password = _auth.partition(":")
if not _user or len(_password) < 12:
    sys.exit(
        "Flower needs a login: set FEATURE_STORE_FLOWER_AUTH_FILE to a file with user:password, the password of 12 "
        "characters or more ('fstore config --init-secrets' writes one)"
    )
if os.environ.get("FLOWER_UNAUTHENTICATED_API", "").lower() in ("1", "true", "yes", "on"):
    sys.exit("unset FLOWER_UNAUTHENTICATED_API: with it anybody who reaches Flower can run any task")

basic_auth = [_auth]
cookie_secret = _secret("FLOWER_COOKIE") or None  # without one, everybody is logged out by a restart
port = int(os.environ.get("FLOWER_PORT", "5555"))

# Columns, memory and the like: the same as in a stack of 'fstore up'. Flower reads plain names of this module.
globals().update(FLOWER_SETTINGS)

# Buckets that fit computations of seconds to minutes, for Flower's own /metrics.
task_runtime_metric_buckets = [0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 900.0]
