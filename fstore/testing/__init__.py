"""What users test with: a store with servers and workers of its own, and the suite that a storage backend must pass.

Needs the extra ``embedded``; pytest is not needed to import it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fstore.testing.celery_processes import start_celery, stop_group
    from fstore.testing.running import RunningStore, Servers, running_store, with_database

_HOMES = {
    "running_store": "fstore.testing.running",
    "RunningStore": "fstore.testing.running",
    "Servers": "fstore.testing.running",
    "with_database": "fstore.testing.running",
    "start_celery": "fstore.testing.celery_processes",
    "stop_group": "fstore.testing.celery_processes",
}

__all__ = ["running_store", "RunningStore", "Servers", "start_celery", "stop_group", "with_database"]


def __getattr__(name: str) -> Any:
    """Load a public name when it is asked for: the storage suite must not need the embedded servers."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value
