"""Which backend a store's settings name, opened; nothing is touched before it is used."""

from __future__ import annotations

from typing import NamedTuple

from fstore.errors import ConfigurationError
from fstore.model import ObjectUrl
from fstore.s3 import buckets_of
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
    if isinstance(settings.path, ObjectUrl):
        return _open_bucket(settings.path, settings)
    return Storage(FolderEntries(settings.path), FolderStaging(settings.path))


def _open_bucket(root: ObjectUrl, settings: Settings) -> Storage:
    # Imported where they are needed: a store in a folder loads nothing of a network.
    try:
        client = buckets_of(settings).client(root.bucket)
    except ModuleNotFoundError as error:
        raise ConfigurationError([f"path: {root} needs {error.name}; pip install 'intraday-fstore[s3]'"]) from error
    from fstore.storage.bucket.entries import BucketEntries  # noqa: PLC0415
    from fstore.storage.bucket.place import Place  # noqa: PLC0415
    from fstore.storage.bucket.staging import BucketStaging  # noqa: PLC0415

    prefix = f"{root.key}/" if root.key else ""
    place = Place(client, root.bucket, prefix, settings.scratch, settings.s3_read_back)
    return Storage(BucketEntries(place), BucketStaging(place))


def open_local_cache(settings: Settings) -> LocalCache | None:
    """Open this host's local cache; None where it is turned off."""
    if settings.cache_folder is None:
        return None
    is_remote = isinstance(settings.path, ObjectUrl)
    return LocalCache(settings.cache_folder, max_bytes=settings.local_cache_max_bytes, downloads_once=is_remote)
