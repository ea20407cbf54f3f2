"""Entries of a bucket that share an object: read by a range, copied aside, listed."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pyarrow as pa

from fstore.errors import StorageUnavailable
from fstore.s3 import ObjectChanged, ObjectMissing, Span
from fstore.storage import layout
from fstore.storage.bucket.listing import list_prefix, list_uploads
from fstore.storage.bucket.place import Place
from fstore.storage.interface import Listing
from fstore.storage.layout import Packed

_PACK_PATH = re.compile(rf"{layout.PACKS}/[0-9a-f]/{layout.PACK_NAME.pattern}", re.ASCII)


def packed_bytes(place: Place, packed: Packed, length: int, *, fresh: bool = False) -> pa.Buffer:
    """Return the bytes of an entry by one request, fewer where its pack ends before.

    Raises ``ObjectMissing``.
    """
    try:
        return place.client.get(place.key(packed.path), Span(packed.offset, max(1, length)), fresh=fresh).data
    except ObjectChanged as error:
        raise StorageUnavailable(place.location, f"{packed.path}: {error.reason}") from error


def copy_aside(place: Place, packed: Packed, length: int, target: str) -> str | None:
    """Put an entry's bytes under a name of their own; None when they cannot be had."""
    try:
        place.send(target, packed_bytes(place, packed, length))
    except (StorageUnavailable, ObjectMissing):
        return None
    return target


def list_packs(place: Place) -> Iterator[Listing]:
    """List the packs of each first digit, and uploads of some that nobody finished."""
    for group in layout.PACK_GROUPS:
        prefix = f"{layout.PACKS}/{group}/"
        listing = list_prefix(place, prefix, layout.PACK_NAME)
        listing.temporary += list_uploads(place, prefix, _PACK_PATH)
        yield listing
