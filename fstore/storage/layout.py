"""Where an entry or a staged file lies below the root of a store, and what its name says.

Layout, of every backend::

    STORE_ID                                   must equal the database's
    entries/<aa>/<key>.<token>.parquet         published, never changed, name never reused
    entries/<aa>/.tmp-<token>                  being written, where a backend writes in steps
    entries/packs/<a>/<token>.pack             several small results, published together, and at the end what they are
    staging/raw/<aa>/<digest>...               raw data on their way to a worker, or several small ones under a name of their own
    staging/results/<key>.<token>.parquet      results on their way to a publisher
    quarantine/                                files found wrong, kept for a look
    probe/<token>                              there for a moment, where the clock is asked by writing

``<aa>`` are the first two hex digits of the key, so that no folder grows without
bound. No caller text ever becomes part of a path.

An entry in a pack has a path of its own, ``<pack>/<key>.<token>-<offset>.parquet``, so that
rows, copies and quarantine name it as they name files; no file lies there. In a folder
the name above it is a file and no folder, so a version that knows no packs is told by the
system that it cannot look there, which is an outage to it and never a missing entry.

Raw data that share a file have paths of the form ``staging/raw/<aa>/<digest>.<file>-<offset>-<length>.arrow``, where
likewise no file lies: whoever knows no such files finds that the raw data are gone, and is given them anew, alone.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Sequence
from typing import NamedTuple

import pyarrow as pa

from fstore.errors import InvalidRequest, SourceNotAllowed

STORE_ID = "STORE_ID"
ENTRIES = "entries"
PACKS = f"{ENTRIES}/packs"
STAGED_RAW, STAGED_RESULTS = "staging/raw", "staging/results"
QUARANTINE = "quarantine"
PROBES = "probe"
TEMPORARY = ".tmp-"
"""What the names of unfinished files begin with, in the store and in the local cache."""

SHARDS = tuple(f"{number:02x}" for number in range(256))
SHARDS_IN_TURN = tuple(f"{low:x}{high:x}" for high in range(16) for low in range(16))
"""All shards, those of each first digit in turn: where a backend lists them side by side, all of its streams are busy."""
ENTRY_NAME = re.compile(r"[0-9a-f]{64}\.[0-9A-Za-z-]+\.parquet")
PACK_GROUPS = tuple(f"{number:x}" for number in range(16))
PACK_NAME = re.compile(r"[0-9a-f]{16}\.pack", re.ASCII)
_PACKED = re.compile(
    rf"({PACKS}/([0-9a-f])/(\2[0-9a-f]{{15}})\.pack)/[0-9a-f]{{64}}\.\3-(0|[1-9][0-9]{{0,9}})\.parquet", re.ASCII
)
_PACK_MARK = b"FSPACK01"
STAGED_RAW_PATH = re.compile(rf"{STAGED_RAW}/([0-9a-f]{{2}})/\1[0-9a-f]{{62}}(\.[0-9A-Za-z-]+)?\.arrow", re.ASCII)
_RAW_PART = re.compile(
    rf"{STAGED_RAW}/([0-9a-f]{{2}})/\1[0-9a-f]{{62}}\.([0-9a-f]{{64}})-(0|[1-9][0-9]{{0,9}})-([1-9][0-9]{{0,9}})\.arrow",
    re.ASCII,
)
STAGED_RESULT_PATH = re.compile(rf"{STAGED_RESULTS}/[0-9a-f]{{64}}\.[0-9A-Za-z-]+\.parquet", re.ASCII)
STAGED_NAME = re.compile(r"[0-9a-f]{64}(\.[0-9A-Za-z-]+\.parquet|(\.[0-9A-Za-z-]+)?\.arrow)")


class FoundFile(NamedTuple):
    """A file of the store; ``path`` is relative to the root, ``modified_ns`` by the store's own clock."""

    path: str
    size_bytes: int
    modified_ns: int


def check_staged_raw(path: str) -> None:
    """Raise ``SourceNotAllowed`` unless a path has the form of staged raw data.

    It came in a message or a row.
    """
    if STAGED_RAW_PATH.fullmatch(path) is None:
        raise SourceNotAllowed(path, [f"{STAGED_RAW} of the store"])


class RawPart(NamedTuple):
    """Where raw data lie that share a file with others: the file, and their bytes in it."""

    path: str
    offset: int
    length: int


def raw_part_at(path: str) -> RawPart | None:
    """Return where the raw data of a staged path lie in a file that they share.

    None for raw data that have one of their own.
    """
    found = _RAW_PART.fullmatch(path)
    if found is None:
        return None
    return RawPart(f"{STAGED_RAW}/{shard_of(found[2])}/{found[2]}.arrow", int(found[3]), int(found[4]))


def staged_file_of(path: str) -> str:
    """Return the file that holds what is staged under a path."""
    part = raw_part_at(path)
    return path if part is None else part.path


def new_raw_parts(parts: Sequence[tuple[str, pa.Buffer]]) -> tuple[str, list[str], list[memoryview]]:
    """Lay raw data, digest and bytes each, one behind the other.

    Returns path and bytes of the file, and the path of each.
    """
    name = uuid.uuid4().hex + uuid.uuid4().hex
    paths, pieces, offset = list[str](), list[memoryview](), 0
    for digest, data in parts:
        paths.append(f"{STAGED_RAW}/{shard_of(digest)}/{digest}.{name}-{offset}-{data.size}.arrow")
        padding = -data.size % 64  # as Arrow wants its memory
        pieces += memoryview(data), memoryview(bytes(padding))
        offset += data.size + padding
    return f"{STAGED_RAW}/{shard_of(name)}/{name}.arrow", paths, pieces


def check_staged_result(path: str) -> None:
    """Raise ``InvalidRequest`` unless a path has the form of a staged result.

    It came in a message or a row.
    """
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


class Packed(NamedTuple):
    """Where an entry lies that has no file of its own: the pack, and its first byte in it."""

    path: str
    offset: int


def packed_at(path: str) -> Packed | None:
    """Return where the entry of a path lies in a pack; None for one that has a file of its own."""
    if not path.startswith(PACKS):  # hits ask this
        return None
    found = _PACKED.fullmatch(path)
    return Packed(found[1], int(found[4])) if found is not None else None


def file_of(path: str) -> str:
    """Return the file that holds the entry of a path: its pack, or its own."""
    packed = packed_at(path)
    return path if packed is None else packed.path


def is_pack(path: str) -> bool:
    """Tell whether a file that was listed holds several entries."""
    return path.startswith(PACKS) and PACK_NAME.fullmatch(packed_name(path)) is not None


def packed_name(pack: str) -> str:
    """Return by which name rows are found that name a pack."""
    return pack.rpartition("/")[2]


def new_pack(results: Sequence[tuple[str, pa.Buffer]]) -> tuple[str, list[str], pa.Buffer]:
    """Lay results, key and bytes each, one behind the other.

    Returns path and bytes of the file, and the path of each.
    """
    pack, paths, pieces = new_pack_in_pieces(results)
    return pack, paths, pa.py_buffer(b"".join(pieces))


def new_pack_in_pieces(results: Sequence[tuple[str, pa.Buffer]]) -> tuple[str, list[str], list[memoryview]]:
    """Do so, and spare the memory of the whole.

    At the end stand key, offset and length of each, for those who find the file without a row.
    """
    token = new_token()
    pack = f"{PACKS}/{token[0]}/{token}.pack"
    paths: list[str] = []
    held: list[tuple[str, int, int]] = []
    offset = 0
    for key, data in results:
        paths.append(f"{pack}/{key}.{token}-{offset}.parquet")
        held.append((key, offset, data.size))
        offset += data.size
    said = json.dumps(held, separators=(",", ":")).encode()
    end = said + len(said).to_bytes(8, "little") + _PACK_MARK
    return pack, paths, [*(memoryview(data) for _, data in results), memoryview(end)]


def keys_in_pack(data: pa.Buffer) -> list[str]:
    """Return the keys of the results in a pack's bytes, none where they do not say."""
    whole = memoryview(data)
    length = int.from_bytes(whole[-16:-8], "little")
    if bytes(whole[-8:]) != _PACK_MARK or length > len(whole) - 16:
        return []
    try:
        return [key for key, _, _ in json.loads(bytes(whole[-16 - length : -16])) if isinstance(key, str)]
    except (ValueError, TypeError):
        return []


def new_result_path(key: str) -> str:
    """Return where a staged result of ``key`` is to lie: each call gives another name."""
    return f"{STAGED_RESULTS}/{key}.{new_token()}.parquet"
