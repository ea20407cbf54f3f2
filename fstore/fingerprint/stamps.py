"""The stamp by which an unchanged source is known again, and what is done with it."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from typing import Protocol

SETTLED_NS = 2_000_000_000
CHANGES_SHOW = sys.platform != "win32"
"""Whether a file has a time of its last change that nobody can set."""


@dataclass(frozen=True, slots=True)
class SourceStamp:
    """What stays the same while a source is untouched.

    For a folder, totals and latest times over its files. ``footer_digest`` covers the raw Parquet footer, for a
    folder also every file's relative path and own stamp.
    """

    path: str
    size_bytes: int
    mtime_ns: int
    ctime_ns: int
    inode: int
    footer_digest: str

    def is_settled(self, now_ns: int) -> bool:
        """Was the last change more than 2 s ago, so that a later one must show in the times.

        This is the racy-clean rule. Never on Windows: its ``ctime`` is when a file was made, and any program may
        set the other time back.
        """
        return CHANGES_SHOW and max(self.mtime_ns, self.ctime_ns) + SETTLED_NS < now_ns


@dataclass(frozen=True, slots=True)
class ObjectStamp:
    """What stays the same while nobody writes to an object.

    Below a prefix, totals over what a listing tells of each. No time is part of it: a write gives an object another
    ETag at once.
    """

    path: str
    store: str
    size_bytes: int
    etag: str
    version_id: str
    footer_digest: str


class SourceMemo(Protocol):
    """A memory of digests of foreign Parquet files, shared by all trainers."""

    def recall(self, stamp: SourceStamp | ObjectStamp) -> str | None:
        """Find the content digest, in hex, remembered for exactly this stamp."""
        ...

    def remember(self, stamp: SourceStamp | ObjectStamp, digest: str) -> None:
        """Keep a digest; called only for sources that had settled before they were read."""
        ...


class Stamped(Protocol):
    """A source that has a stamp."""

    def stamp(self) -> SourceStamp:
        """Take the stamp as it is now."""
        ...


class SourceWatch:
    """What a source was before it is read; asked afterwards whether it still is."""

    def __init__(self, source: Stamped) -> None:
        self._source = source
        self._since_ns = time.time_ns()  # the clock that file times are compared with
        self.before = source.stamp()

    def is_same(self) -> bool:
        """Take the stamp anew and compare."""
        return self._source.stamp() == self.before

    @property
    def is_settled(self) -> bool:
        """Was the source old enough for a change to be sure to show in its times."""
        return self.before.is_settled(self._since_ns)
