"""fstore: a shared, verified feature cache for people who train models on intraday market data."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fstore.client.explanation import Explanation
    from fstore.client.ticket import Ticket
    from fstore.errors import (
        BrokerUnavailable,
        ComputeDead,
        ComputeFailed,
        ComputeTimeout,
        ConfigurationError,
        EntryCorrupt,
        FeatureNotRegistered,
        FeatureStoreError,
        InvalidRequest,
        ManifestBusy,
        ManifestUnavailable,
        NotPermitted,
        SourceChanged,
        SourceNotAllowed,
        StorageFull,
        StorageUnavailable,
        StoreMismatch,
        UnhashableInput,
        UpkeepRefused,
        VersionMismatch,
    )
    from fstore.features.local_features import local
    from fstore.features.registry import feature
    from fstore.model import Entry, Fingerprint, ParquetSource, Request
    from fstore.store import FeatureStore, connect

__all__ = [
    "connect",
    "feature",
    "local",
    "load",
    "FeatureStore",
    "Request",
    "ParquetSource",
    "Ticket",
    "Entry",
    "Explanation",
    "Fingerprint",
    "FeatureStoreError",
    "ConfigurationError",
    "InvalidRequest",
    "UnhashableInput",
    "FeatureNotRegistered",
    "VersionMismatch",
    "SourceNotAllowed",
    "SourceChanged",
    "ComputeFailed",
    "ComputeDead",
    "ComputeTimeout",
    "BrokerUnavailable",
    "ManifestUnavailable",
    "ManifestBusy",
    "NotPermitted",
    "StorageUnavailable",
    "StorageFull",
    "EntryCorrupt",
    "StoreMismatch",
    "UpkeepRefused",
]

_HOMES = {
    "fstore.client.explanation": ("Explanation",),
    "fstore.client.ticket": ("Ticket",),
    "fstore.errors": (
        "BrokerUnavailable",
        "ComputeDead",
        "ComputeFailed",
        "ComputeTimeout",
        "ConfigurationError",
        "EntryCorrupt",
        "FeatureNotRegistered",
        "FeatureStoreError",
        "InvalidRequest",
        "ManifestBusy",
        "ManifestUnavailable",
        "NotPermitted",
        "SourceChanged",
        "SourceNotAllowed",
        "StorageFull",
        "StorageUnavailable",
        "StoreMismatch",
        "UnhashableInput",
        "UpkeepRefused",
        "VersionMismatch",
    ),
    "fstore.features.local_features": ("local",),
    "fstore.features.registry": ("feature",),
    "fstore.model": ("Entry", "Fingerprint", "ParquetSource", "Request"),
    "fstore.store": ("FeatureStore", "connect"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    """Load a public name when it is asked for: the command line shows its help without pandas, Celery or SQLAlchemy."""
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(_HOME_OF[name]), name)
    return value


def load(answer: Mapping[str, Any], **settings: Any) -> Any:
    """Read the frame that a plain Celery call of ``fstore.get_or_compute`` answered with.

    Opens the store that ``connect`` would open; ``FeatureStore.load`` does the same
    on a store that is open already.
    """
    from fstore.store import connect  # noqa: PLC0415 as everything here, loaded when it is used

    with connect(**settings) as store:
        return store.load(answer)
