"""Lists a store in a bucket, shards in streams side by side.

Each is a shard ahead at most, so that memory stays flat.
"""

from __future__ import annotations

import contextvars
import queue
import re
import threading
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from fstore.s3 import Listed, S3Unavailable
from fstore.storage import layout
from fstore.storage.bucket.place import Place
from fstore.storage.interface import Listing
from fstore.storage.layout import FoundFile

_UPLOAD = "?uploadId="
_ENTRY_PATH = re.compile(rf"{layout.ENTRIES}/[0-9a-f]{{2}}/{layout.ENTRY_NAME.pattern}")
_FEW = 4  # of one first digit: asked for one by one, not by a stream that passes over the others


class Unfinished(NamedTuple):
    """An upload that nobody finished."""

    path: str
    upload_id: str


def unfinished_of(file: FoundFile) -> Unfinished | None:
    """Return the upload that a listed file stands for, None where it is an object."""
    path, mark, upload_id = file.path.partition(_UPLOAD)
    return Unfinished(path, upload_id) if mark else None


def list_prefix(place: Place, prefix: str, known: re.Pattern[str]) -> Listing:
    """List what lies below one prefix."""
    listing = Listing()
    for page in place.client.list(place.key(prefix)):
        for found in page:
            _sort(listing, place.path(found.key), found, prefix, known)
    return listing


def list_uploads(place: Place, prefix: str, known: re.Pattern[str]) -> Iterator[FoundFile]:
    """Give uploads below a prefix that nobody finished, of names that are fstore's.

    How many bytes they hold nobody says.
    """
    try:
        for upload in place.client.list_uploads(place.key(prefix)):
            if known.fullmatch(path := place.path(upload.key)):
                yield FoundFile(f"{path}{_UPLOAD}{upload.upload_id}", 0, upload.began_ns)
    except S3Unavailable as error:
        if error.code != "NotImplemented":  # a server without uploads in parts has none that are unfinished
            raise


def list_shards(place: Place, shards: Sequence[str]) -> Iterator[Listing]:
    """Give each shard's files in the order asked for.

    To have all streams busy, ask for their shards in turn.
    """
    unfinished: dict[str, list[FoundFile]] = defaultdict(list)
    whole = len(shards) > _FEW
    for prefix in [f"{layout.ENTRIES}/"] if whole else [f"{layout.ENTRIES}/{shard}/" for shard in shards]:
        for file in list_uploads(place, prefix, _ENTRY_PATH):
            unfinished[file.path.split("/")[1]].append(file)
    by_digit: dict[str, list[str]] = defaultdict(list)
    for shard in shards:
        by_digit[shard[0]].append(shard)
    streams = {
        digit: _Stream(place, wanted)
        for digit, wanted in by_digit.items()
        if len(wanted) > _FEW and wanted == sorted(wanted)
    }
    try:
        for shard in shards:
            stream = streams.get(shard[0])
            listing = _one(place, shard) if stream is None else stream.next()
            listing.temporary += unfinished.pop(shard, [])
            yield listing
    finally:
        for stream in streams.values():
            stream.stop()


def _one(place: Place, shard: str) -> Listing:
    return list_prefix(place, f"{layout.ENTRIES}/{shard}/", layout.ENTRY_NAME)


class _Stream:
    """Lists the shards of one first digit in their order, one shard ahead of whoever takes them.

    The next one is begun when the last one is taken: with all streams asked in turn, the others' shards
    are what its time is for. More of them ready would be memory that brings nothing.
    """

    def __init__(self, place: Place, shards: Sequence[str]) -> None:
        self._place, self._shards = place, shards
        self._ready: queue.SimpleQueue[Listing | BaseException] = queue.SimpleQueue()
        self._room = threading.Semaphore(1)
        self._stopped = False
        surroundings = contextvars.copy_context()  # the deadline
        self._thread = threading.Thread(target=surroundings.run, args=(self._run,), name="fstore-listing", daemon=True)
        self._thread.start()

    def next(self) -> Listing:
        """Return the next shard; raises what its listing raised."""
        found = self._ready.get()
        if isinstance(found, BaseException):
            raise found
        self._room.release()
        return found

    def stop(self) -> None:
        """List no more."""
        self._stopped = True
        self._room.release()

    def _run(self) -> None:
        try:
            listings = self._listings()
            while self._room.acquire() and not self._stopped and (listing := next(listings, None)) is not None:
                self._ready.put(listing)
        except BaseException as error:
            self._ready.put(error)

    def _listings(self) -> Iterator[Listing]:
        """Cut one ordered stream of keys at the borders of shards.

        By two digits, not by folder: what somebody else calls ``ab-old/`` comes before ``ab/`` in the order of keys.
        """
        at, listing = 0, Listing()
        begins = len(layout.ENTRIES) + 1
        for found in self._objects():
            path = self._place.path(found.key)
            shard = path[begins : begins + 2]
            while at < len(self._shards) and self._shards[at] < shard:
                yield listing
                at, listing = at + 1, Listing()
            if at == len(self._shards):
                return
            if self._shards[at] == shard:
                _sort(listing, path, found, f"{layout.ENTRIES}/{shard}/", layout.ENTRY_NAME)
        for _ in range(at, len(self._shards)):
            yield listing
            listing = Listing()

    def _objects(self) -> Iterable[Listed]:
        prefix = self._place.key(f"{layout.ENTRIES}/{self._shards[0][0]}")
        return (found for page in self._place.client.list(prefix) for found in page)


def _sort(listing: Listing, path: str, found: Listed, prefix: str, known: re.Pattern[str]) -> None:
    if path.startswith(prefix) and known.fullmatch(path, len(prefix)):
        listing.files.append(FoundFile(path, found.size_bytes, found.modified_ns))
    else:
        listing.foreign += 1
