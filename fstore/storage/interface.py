"""What fstore asks of the place that keeps its files: two protocols and a record of capabilities.

Nothing outside ``fstore.storage`` knows more of a backend than this. A second one is a module beside ``folder``, a line in
``open`` and a subclass of ``fstore.testing.storage_suite.StorageSuite``, which puts these promises to the test. Three
outcomes are told apart everywhere, because the wrong one destroys data or hides an outage:

- *not there* is a fact about one file: ``EntryCorrupt`` when an entry is read, False or
  None where a method says so;
- *wrong* is a fact about bytes that were read: ``EntryCorrupt``, and a caller may quarantine. A backend whose reads
  pass a network reads once more before it says so;
- *unavailable* is a fact about the store, also when it says no (rights, quotas, an unknown bucket):
  ``StorageUnavailable``, or ``StorageFull`` for a write without room. It never counts as missing or wrong.

Every method may raise ``StorageUnavailable`` unless it says that it never raises. All are safe between threads and in forks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple, Protocol

import pyarrow as pa

from fstore.model import Locator
from fstore.storage.layout import SHARDS, FoundFile
from fstore.storage.packed.raw_parts import LastRead
from fstore.storage.verify import Fault, Pace


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a backend is like, as far as anybody outside has to know."""

    location: str
    """The root as people write it."""
    folder: Path | None
    """The root as a folder of this host, below which users may keep raw data of their own; None where there is none."""
    clock_step_s: float
    """Two moments that lie further apart than this are told apart by the store's clock."""
    deletions_at_once: int = 1
    """As many deletions side by side are worth it: each waits for a network."""
    clock_is_remote: bool = False
    """The clock is that of whichever server answers; upkeep believes it only while it agrees with the database's."""


@dataclass(frozen=True, slots=True)
class Stored:
    """An entry's file, complete and durable: its path below the root, its size, the BLAKE3 of its bytes.

    A backend that leaves digests of column chunks in the file's tail says length and BLAKE3 of that; others need not.
    """

    path: str
    file_size_bytes: int
    content_digest: str
    tail_bytes: int | None = None
    tail_digest: str | None = None


@dataclass(frozen=True, slots=True)
class StagedResult:
    """A result on its way to a publisher: the table, the bytes that it lies in and their BLAKE3."""

    table: pa.Table
    data: pa.Buffer
    digest: str


class ByteRange(NamedTuple):
    """Some bytes of an entry, counted from its first."""

    offset: int
    length: int


class Space(NamedTuple):
    """How much room a store has."""

    free_bytes: int
    total_bytes: int


@dataclass(frozen=True, slots=True)
class Condition:
    """One thing about a store that its operator should know, with advice unless all is well."""

    severity: Literal["ok", "warning", "fault"]
    detail: str
    advice: str = ""


@dataclass(slots=True)
class Listing:
    """Files of one place: finished, unfinished, and the number of those that fstore did not make."""

    files: list[FoundFile] = field(default_factory=list)
    temporary: list[FoundFile] = field(default_factory=list)
    foreign: int = 0


def _accept(_: pa.Table) -> None:
    """Find nothing wrong."""


class EntryStore(Protocol):
    """The files of entries: published once, each under its own name, read verified, deleted by upkeep."""

    @property
    def capabilities(self) -> Capabilities: ...

    def create(self, store_id: str) -> None:
        """Bring the store into being with this id unless it has one; the first of several at once wins.

        Safe to repeat. Durable when it returns. Raises ``StoreMismatch`` when the store
        has another id by then.
        """
        ...

    def identity(self) -> str:
        """Return the store's id, empty when it has none."""
        ...

    def check_identity(self, store_id: str) -> None:
        """Make sure that the store has this id; raises ``StoreMismatch``."""
        ...

    def publish(self, key: str, table: pa.Table, *, check: Callable[[pa.Table], None] = _accept) -> Stored:
        """Write a result whole and durably under a name that no entry had or will have.

        ``check`` is given the table that a reader of these very bytes will get, before
        the file has its name; what it raises is raised, and nothing is left. When this
        returns, the file survives a crash of every process and host; when it raises, or
        the process dies, what remains is at most a file that no row names. Raises
        ``UnstorableResult`` for what Parquet cannot hold or give back, ``StorageFull``.
        """
        ...

    def publish_bytes(self, key: str, data: pa.Buffer) -> Stored:
        """Do the same for the bytes of a Parquet file that was checked: anew it might read otherwise.

        At most digests of its column chunks are put in, between the last row group and the footer.
        """
        ...

    def publish_together(self, results: Sequence[tuple[str, pa.Buffer]]) -> list[Stored]:
        """Do so for several small results, key and bytes each, as one file that goes as a whole by its path."""
        ...

    def read(self, found: Locator) -> pa.Table:
        """Return an entry's table, its size, its digest and its rows verified; raises ``EntryCorrupt``.

        A file that was published is found by every host; where that takes a moment, the
        backend waits for it before it says that the file is missing.
        """
        ...

    def read_bytes(self, found: Locator) -> pa.Buffer:
        """Return an entry's bytes, verified against size and digest; raises ``EntryCorrupt``."""
        ...

    def read_ranges(self, found: Locator, ranges: Sequence[ByteRange]) -> list[pa.Buffer]:
        """Return parts of an entry's bytes, all of one version of its file, **not verified**.

        Whoever asks for parts verifies each against a digest of its own. Raises
        ``EntryCorrupt`` when the file is missing or its size is not the entry's, and
        ``ValueError`` for a range outside the entry.
        """
        ...

    def inspect(self, found: Locator, pace: Pace) -> tuple[Fault | None, int]:
        """Read an entry to its last byte in bounded memory; return its fault or None, and the bytes read.

        Finds a fault exactly where ``read`` would raise ``EntryCorrupt``.
        """
        ...

    def exists(self, path: str) -> bool:
        """Return whether a file is there now, asking the store anew."""
        ...

    def delete(self, path: str) -> bool:
        """Delete a file, and return whether there was one, as far as the store tells.

        A reader that has begun gets either the whole entry or ``EntryCorrupt``, never a
        part or other bytes. Deleting what is gone is no fault.
        """
        ...

    def discard(self, path: str) -> None:
        """Delete a file that no row names if that is possible now; upkeep finds what stays. Never raises."""
        ...

    def quarantine(self, found: Locator) -> str | None:
        """Move a wrong entry out of the way, or copy it out of its pack, and return where it lies now.

        None when it is gone or cannot be moved: its row hides it already. Touches nothing but
        this entry, and never raises for the store.
        """
        ...

    def list_shards(self, shards: Sequence[str] = SHARDS) -> Iterator[Listing]:
        """Give the files of one shard after the other, in this order.

        A shard without files is an empty listing. A listing holds every entry that was published before its iteration was asked
        for and is still there, each once. Memory is bounded by a few shards.
        """
        ...

    def list_packs(self) -> Iterator[Listing]:
        """Give the files that hold several entries, one place at a time, as ``list_shards`` does."""
        ...

    def keys_in(self, pack: str) -> list[str] | None:
        """Return the keys published in a pack; None when it is gone, empty if it no longer says."""
        ...

    def list_quarantine(self) -> Listing:
        """List what lies in quarantine; it counts as changed when it was moved there."""
        ...

    def drop_unfinished(self, file: FoundFile) -> bool:
        """Delete an unfinished file unless its writer went on since it was listed; return if it is gone."""
        ...

    def now_ns(self) -> int:
        """Return the time by the clock that ages this store's files, whatever other clocks say."""
        ...

    def space(self) -> Space | None:
        """Return the room there is; None where it has no bound or nobody can tell. Never raises."""
        ...

    def diagnose(self) -> Iterator[Condition]:
        """Tell what an operator should know of the store; may write a probe that is gone again. Never raises."""
        ...


class StagingArea(Protocol):
    """Files on their way from one process to another: disposable, checked by their digest, not durable.

    Raw data are named by their content, so that several requests share one copy.
    Paths come back from messages and job rows, hence from whoever can write there: each
    method refuses a path that has not the form of what this area stages, or that leads out
    of it by a link, before it touches anything (``layout.check_staged_raw`` and its like).
    Nothing but what was staged is ever read or deleted here.
    """

    @property
    def capabilities(self) -> Capabilities: ...

    def reserve(self, digest: str) -> str | None:
        """Return the path of raw data that are staged already, marked as in use from now on.

        None when they are not, or nobody can tell. What was reserved is not dropped by who listed it before. Never raises.
        """
        ...

    def write(self, digest: str, table: pa.Table) -> str:
        """Stage raw data, whole or not at all, and return their path, reserved; raises ``StorageFull``."""
        ...

    def write_together(self, raw: Iterable[tuple[str, pa.Table]]) -> list[str]:
        """Stage several, digest and table each, in few files that go by age and ``reserve`` does not find."""
        ...

    def read(self, path: str, *, last: LastRead | None = None) -> pa.Table:
        """Return staged raw data; raises ``SourceChanged`` when gone or formless, or ``SourceNotAllowed``.

        Whether they are what was fingerprinted is for the caller to check. ``last`` keeps a file that several share.
        """
        ...

    def write_result(self, key: str, table: pa.Table) -> str:
        """Leave a result for a worker and return its path; raises ``UnstorableResult``, ``StorageFull``."""
        ...

    def read_result(self, path: str, *, digest: str | None = None) -> StagedResult:
        """Return a staged result; raises ``InvalidRequest`` for another path or bytes of another digest."""
        ...

    def exists(self, path: str) -> bool:
        """Return whether something is staged there now; raises ``SourceNotAllowed`` for another path."""
        ...

    def discard(self, path: str) -> None:
        """Delete what nobody needs any more if possible now; ``SourceNotAllowed`` for another path."""
        ...

    def list_staged(self) -> Iterator[Listing]:
        """Give everything that is staged or unfinished, one place at a time."""
        ...

    def drop_unless_reserved(self, file: FoundFile) -> bool:
        """Delete a file unless it was reserved since it was listed; return whether it is gone.

        Whoever reserves it meanwhile either keeps it or is told that it is not there.
        """
        ...
