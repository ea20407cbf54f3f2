"""Where a file of the store lies, and what its name says."""

from __future__ import annotations

from typing import NamedTuple


class FoundFile(NamedTuple):
    """A file that lies in the store; ``path`` is relative to the root, ``modified_ns`` by its file system's clock."""

    path: str
    size_bytes: int
    modified_ns: int


def shard_of(key: str) -> str:
    """Return the folder, two hex digits, that holds the files of ``key``."""
    return key[:2]


def key_of(path: str) -> str:
    """Return the key that a file's name starts with; names have the form ``<key>.<token>.parquet``."""
    return path.rpartition("/")[2].partition(".")[0]
