"""fstore: a shared, verified feature cache for people who train models on intraday market data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from fstore import lazy

if TYPE_CHECKING:
    from fstore.client import Explanation, Ticket
    from fstore.earlier_names import DiskGarbageCollector, OptimizedFeatureStore
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
    from fstore.features import feature, local, partitions, sessions
    from fstore.model import Entry, Fingerprint, ParquetSource, Request
    from fstore.runtime.versions import __version__ as __version__
    from fstore.store import FeatureStore, connect
else:
    # The command line shows its help without pandas, Celery or a driver.
    __getattr__ = lazy.names(
        __name__,
        {
            "client": "Explanation Ticket",
            "earlier_names": "DiskGarbageCollector OptimizedFeatureStore",
            "errors": (
                "BrokerUnavailable ComputeDead ComputeFailed ComputeTimeout ConfigurationError EntryCorrupt "
                "FeatureNotRegistered FeatureStoreError InvalidRequest ManifestBusy ManifestUnavailable NotPermitted "
                "SourceChanged SourceNotAllowed StorageFull StorageUnavailable StoreMismatch UnhashableInput "
                "UpkeepRefused VersionMismatch"
            ),
            "features": "feature local partitions sessions",
            "runtime.versions": "__version__",
            "model": "Entry Fingerprint ParquetSource Request",
            "store": "FeatureStore connect",
        },
    )

__all__ = [
    "connect",
    "feature",
    "local",
    "load",
    "sessions",
    "partitions",
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
    "OptimizedFeatureStore",
    "DiskGarbageCollector",
]


def __dir__() -> list[str]:
    """List what is for users, loaded or not: what a notebook completes."""
    return sorted([*__all__, "__version__"])


def load(answer: Mapping[str, Any], **settings: Any) -> Any:
    """Read the frame that a plain Celery call of ``fstore.get_or_compute`` answered with.

    Opens the store that ``connect`` would open; ``FeatureStore.load`` does the same
    on a store that is open already.
    """
    from fstore.store import connect  # noqa: PLC0415 as everything here, loaded when it is used

    with connect(**settings) as store:
        return store.load(answer)
