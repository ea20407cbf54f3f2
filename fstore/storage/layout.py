"""Where an entry or a staged file lies below the root of a store, and what its name says.

Layout, of every backend::

    STORE_ID                                   must equal the database's
    entries/<aa>/<key>.<token>.parquet         published, never changed, name never reused
    entries/<aa>/.tmp-<token>                  being written, where a backend writes in steps
    staging/raw/<aa>/<digest>...               raw data on their way to a worker
    staging/results/<key>.<token>.parquet      results on their way to a publisher
    quarantine/                                files found wrong, kept for a look
    probe/<token>                              there for a moment, where the clock is asked by writing

``<aa>`` are the first two hex digits of the key, so that no folder grows without
bound. No caller text ever becomes part of a path.
"""

from __future__ import annotations

import re
import uuid
from typing import NamedTuple

from fstore.errors import InvalidRequest, SourceNotAllowed

STORE_ID = "STORE_ID"
ENTRIES = "entries"
STAGED_RAW, STAGED_RESULTS = "staging/raw", "staging/results"
QUARANTINE = "quarantine"
PROBES = "probe"
TEMPORARY = ".tmp-"
"""What the names of unfinished files begin with, in the store and in the local cache."""

SHARDS = tuple(f"{number:02x}" for number in range(256))
SHARDS_IN_TURN = tuple(f"{low:x}{high:x}" for high in range(16) for low in range(16))
"""All shards, those of each first digit in turn: where a backend lists them side by side, all of its streams are busy."""
ENTRY_NAME = re.compile(r"[0-9a-f]{64}\.[0-9A-Za-z-]+\.parquet")
STAGED_RAW_PATH = re.compile(rf"{STAGED_RAW}/([0-9a-f]{{2}})/\1[0-9a-f]{{62}}(\.[0-9A-Za-z-]+)?\.arrow", re.ASCII)
STAGED_RESULT_PATH = re.compile(rf"{STAGED_RESULTS}/[0-9a-f]{{64}}\.[0-9A-Za-z-]+\.parquet", re.ASCII)
STAGED_NAME = re.compile(r"[0-9a-f]{64}(\.[0-9A-Za-z-]+\.parquet|(\.[0-9A-Za-z-]+)?\.arrow)")


class FoundFile(NamedTuple):
    """A file of the store; ``path`` is relative to the root, ``modified_ns`` by the store's own clock."""

    path: str
    size_bytes: int
    modified_ns: int


def check_staged_raw(path: str) -> None:
    """Raise ``SourceNotAllowed`` unless a path that came in a message or a row has the form of staged raw data."""
    if STAGED_RAW_PATH.fullmatch(path) is None:
        raise SourceNotAllowed(path, [f"{STAGED_RAW} of the store"])


def check_staged_result(path: str) -> None:
    """Raise ``InvalidRequest`` unless a path that came in a message or a row has the form of a staged result."""
    if STAGED_RESULT_PATH.fullmatch(path) is None:
        raise InvalidRequest("staged_path", "is not a staged result")


def check_staged(path: str) -> None:
    """Let pass what has either form, and nothing else."""
    if STAGED_RESULT_PATH.fullmatch(path) is None:
        check_staged_raw(path)


def new_token() -> str:
    """Return what makes a name one that was never used and never will be again."""
    return uuid.uuid4().hex[:16]


def shard_of(key: str) -> str:
    """Return the folder, two hex digits, that holds the files of ``key``."""
    return key[:2]


def key_of(path: str) -> str:
    """Return the key that a file's name starts with; names have the form ``<key>.<token>.parquet``."""
    return path.rpartition("/")[2].partition(".")[0]


def new_entry_path(key: str) -> str:
    """Return where a new file of ``key`` is to lie: each call gives another name."""
    return f"{ENTRIES}/{shard_of(key)}/{key}.{new_token()}.parquet"


def new_result_path(key: str) -> str:
    """Return where a staged result of ``key`` is to lie: each call gives another name."""
    return f"{STAGED_RESULTS}/{key}.{new_token()}.parquet"
