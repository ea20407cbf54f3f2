"""The records every layer speaks of: frozen values without behaviour that touches the world."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, NamedTuple

from fstore.errors import InvalidRequest
from fstore.records import ObjectUrl as ObjectUrl  # noqa: PLC0414 - other packages find it here


class HashMethod(StrEnum):
    """How a fingerprint was obtained; ``full`` and ``footer`` give the same digest for the same content."""

    FULL = "full"
    FOOTER = "footer"
    TAIL = "tail"


class EntryState(StrEnum):
    """What readers may do with an entry: only a live one is ever served."""

    LIVE = "live"
    CONDEMNED = "condemned"
    QUARANTINED = "quarantined"


class JobState(StrEnum):
    """Where a computation stands; a finished one has an entry instead of a job."""

    QUEUED = "queued"
    RUNNING = "running"
    FAILED = "failed"
    DEAD = "dead"


class Status(StrEnum):
    """How a request was answered."""

    HIT = "hit"
    COMPUTED = "computed"
    COALESCED = "coalesced"


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """Identity of raw data.

    ``digest`` is the hex BLAKE3 root. The text form names algorithm and format version, or
    another ``space``: that of a tail, or of partitions of the data, hence keys of its own.
    """

    method: HashMethod
    digest: str
    space: str | None = None

    FORMAT = "b3m2"

    def __str__(self) -> str:
        space = f"{self.FORMAT}-tail" if self.method is HashMethod.TAIL else self.FORMAT
        return f"{self.space or space}:{self.digest}"


@dataclass(frozen=True, slots=True)
class ParquetSource:
    """Raw data on shared storage: a Parquet file, or a folder of them; a path or ``s3://bucket/key``.

    A folder, or a prefix, stands for the concatenation of its ``*.parquet`` files in the
    order of their relative paths. Raises ``InvalidRequest`` for an address that is none.
    """

    path: Path | ObjectUrl

    def __init__(self, path: str | Path | ObjectUrl) -> None:
        if isinstance(path, str) and ObjectUrl.is_url(path):
            try:
                path = ObjectUrl.parse(path)
            except ValueError as error:
                raise InvalidRequest("raw_data", str(error)) from None
        elif not isinstance(path, ObjectUrl) and re.match("s3[an]?:/", str(path)):
            raise InvalidRequest("raw_data", "a Path cannot hold an address such as s3://bucket/key; pass it as text")
        object.__setattr__(self, "path", path if isinstance(path, ObjectUrl) else Path(path).expanduser().absolute())


@dataclass(frozen=True, slots=True)
class Request:
    """One question of a trainer: ``feature`` is a registered function or its ``"module:qualname"``."""

    symbol: str
    raw_data: Any
    config: Mapping[str, Any]
    feature: Any

    def __repr__(self) -> str:
        """Tell which request it is in a line; a frame would take sixty."""
        shape = getattr(self.raw_data, "shape", None)
        raw = f"<{type(self.raw_data).__name__} {shape}>" if shape is not None else f"{self.raw_data!r:.80}"
        return f"Request({self.symbol!r}, {raw}, {self.config!r}, {self.feature!r})"


@dataclass(frozen=True, slots=True)
class KeyParts:
    """Everything a key commits to; ``config`` is in canonical JSON form."""

    symbol: str
    feature: str
    feature_version: str
    config: str
    fingerprint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ComputedFacts:
    """What whoever computed a result knows of it.

    ``source`` says where the raw data lay, None when nobody else can go there. The fields
    of this record, of ``EntryFacts`` and of ``Entry`` are the columns of the manifest, by
    their names: statements, rows and JSON follow from them. A new one is added here, by a
    migration, and where its value is found.
    """

    key: str
    parts: KeyParts
    hash_method: HashMethod
    source_digest: str
    source: Mapping[str, Any] | None = None
    compute_seconds: float
    library_versions: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Locator:
    """The few columns of a live entry that a hit needs."""

    key: str
    path: str
    rows: int
    file_size_bytes: int
    content_digest: str
    source_digest: str = field(default="", compare=False)
    tail_bytes: int | None = field(default=None, compare=False)
    tail_digest: str | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryFacts(ComputedFacts):
    """What a publisher knows about a file that is complete and durable under its final name.

    ``path`` is relative to the store's root; ``content_digest`` is the hex BLAKE3 of the
    whole file. ``tail_bytes`` and ``tail_digest`` are length and hex BLAKE3 of its end, which
    holds a digest of each column chunk; None where parts of the file cannot be verified.
    """

    path: str
    rows: int
    file_size_bytes: int
    content_digest: str
    start_ts: datetime | None
    end_ts: datetime | None
    tail_bytes: int | None = None
    tail_digest: str | None = None

    @property
    def locator(self) -> Locator:
        """The few columns of it that a read needs."""
        return Locator(
            self.key,
            self.path,
            self.rows,
            self.file_size_bytes,
            self.content_digest,
            self.source_digest,
            self.tail_bytes,
            self.tail_digest,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry(EntryFacts):
    """A manifest row."""

    state: EntryState
    attempt: int
    created_ts: datetime
    condemned_ts: datetime | None
    verified_ts: datetime | None
    pinned_ts: datetime | None = None  # since when garbage collection leaves it alone

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        """Show in a notebook what a person looks for; ``fstore show`` shows all of it."""
        parts, pinned = self.parts, ", pinned" if self.pinned_ts else ""
        printer.text(
            f"Entry {self.key[:12]}: {parts.symbol}, {parts.feature} {parts.feature_version}, {parts.config}\n"
            f"{self.rows} rows, {self.file_size_bytes} bytes, {self.state}{pinned}, of {self.created_ts:%Y-%m-%d %H:%M:%S %Z}"
        )


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to compute one key now.

    ``attempt`` is the fencing number, ``owner`` a token no other claim ever
    shares; a publisher must still hold both when it publishes. ``starts`` counts the
    claims since the job was queued; ``revivable`` tells of a condemned entry that
    could be taken back instead.
    """

    key: str
    attempt: int
    owner: str
    starts: int = field(default=1, compare=False)
    revivable: bool = field(default=False, compare=False)

    @property
    def shown_owner(self) -> str:
        """Return a job's owner as everybody sees it: host and process, not the token that ends the claim."""
        return self.owner[:-32] + hashlib.sha256(self.owner.encode()).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class FailureNote:
    """What the waiters of a failed computation are told.

    ``arguments`` are those of fstore's own errors, so that every waiter can raise
    the same one; for any other error they are empty.
    """

    error_type: str
    detail: str
    traceback_text: str = ""
    arguments: tuple[Any, ...] = ()


@dataclass(frozen=True, slots=True)
class Job:
    """One computation being queued or run.

    ``starts`` counts what may have ended its worker, ``stops`` the orderly stops of one.
    By the database's clock: ``lapsed`` says its lease ran out, ``remembered`` that
    a failure is recent enough to answer for the key.
    """

    key: str
    state: JobState
    attempt: int
    starts: int
    owner: str
    lapsed: bool
    remembered: bool
    requested_ts: datetime
    started_ts: datetime | None
    finished_ts: datetime | None
    failure: FailureNote | None
    request: Mapping[str, Any] | None = None
    stops: int = 0


@dataclass(frozen=True, slots=True)
class KeyStatus:
    """One key as a waiter sees it: the live entry, a condemned one that may be revived, or the job."""

    key: str
    entry: Locator | None
    condemned: bool
    job: Job | None


class ShardRow(NamedTuple):
    """An entry as garbage collection sees it; ``used_at`` is None if it was not used since it was made."""

    key: str
    path: str
    size_bytes: int
    state: str
    created_at: datetime
    used_at: datetime | None
    condemned_at: datetime | None
    is_pinned: bool = False

    @property
    def last_used_at(self) -> datetime:
        """When it was used or, if never, made."""
        return self.used_at or self.created_at


@dataclass(frozen=True, slots=True)
class ReapableEntry:
    """A hidden entry whose grace is over: its row goes, then its file."""

    key: str
    path: str
    size_bytes: int
