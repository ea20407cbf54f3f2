"""Which backend a store's settings name, opened; nothing is touched before it is used."""

from __future__ import annotations

from typing import NamedTuple

from fstore.settings import Settings
from fstore.storage.folder.entries import FolderEntries
from fstore.storage.folder.staging import FolderStaging
from fstore.storage.interface import EntryStore, StagingArea
from fstore.storage.local_cache import LocalCache


class Storage(NamedTuple):
    """Both halves of one store's files."""

    entries: EntryStore
    staging: StagingArea


def open_storage(settings: Settings) -> Storage:
    """Open the place that ``FEATURE_STORE_PATH`` names."""
    return Storage(FolderEntries(settings.path), FolderStaging(settings.path))


def open_local_cache(settings: Settings) -> LocalCache | None:
    """Open this host's local cache; None where it is turned off."""
    if not settings.local_cache:
        return None
    return LocalCache(settings.local_cache, max_bytes=settings.local_cache_max_bytes)
