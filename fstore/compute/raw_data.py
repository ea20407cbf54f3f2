"""Raw data on their way from a trainer to a feature, and the check that they arrived unchanged."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from fstore.broker.messages import RawReference
from fstore.compute.private_copy import private_copy
from fstore.errors import SourceChanged, SourceNotAllowed, StorageUnavailable, UnhashableInput
from fstore.fingerprint import identification as fingerprint
from fstore.fingerprint import parquet_source as sources
from fstore.model import Fingerprint, HashMethod, ParquetSource
from fstore.results import codec as results
from fstore.settings.schema import Settings
from fstore.storage.interface import StagingArea
from fstore.storage.layout import key_of

IN_MEMORY = "in memory"


@dataclass(frozen=True, slots=True)
class Loaded:
    """Raw data as a feature wants them; ``settle`` what it returns before that is published."""

    value: Any
    watch: Watch | None = None

    def settle(self, result: object) -> object:
        """Return the result, read to its end, if the feature cannot have seen other data; raises ``SourceChanged``."""
        if not isinstance(result, pd.DataFrame):
            result = results.encode(
                result
            )  # a stream can be read once perhaps, and may still be reading from the source
        if self.watch is not None:
            self.watch.check()
        return result


@dataclass(frozen=True, slots=True)
class Watch:
    """A source that a feature reads by itself, and what it was before that."""

    source: ParquetSource
    expected: Fingerprint
    before: sources.SourceStamp
    since_ns: int

    def check(self) -> None:
        """Make sure that nobody touched the source meanwhile; raises ``SourceChanged``."""
        if sources.stamp(self.source) != self.before:
            raise SourceChanged(
                str(self.source.path), "it changed while the feature read it; ask again when its writer is done"
            )
        if not self.before.is_settled(self.since_ns):  # too fresh for a change to be sure to show in its times
            _check(str(self.source.path), self.source, self.expected)


def hold(raw: object) -> object:
    """Return raw data as they are now, whatever their owner does next with pandas; copies nothing yet.

    A frame is shared under copy-on-write. A stream is read, once: a query that is run
    again may answer otherwise. What is written to memory past pandas is left to
    ``take`` to notice.
    """
    if isinstance(raw, pd.DataFrame):
        try:
            return pd.DataFrame.copy(raw, deep=False)
        except Exception:  # attrs that cannot be copied, for one: the fingerprint says what is wrong with them
            return raw
    if isinstance(raw, pa.Table | pa.RecordBatch | ParquetSource):
        return raw
    try:
        return fingerprint.to_table(raw)
    except (pa.ArrowException, NotImplementedError) as error:
        raise UnhashableInput(
            "raw_data", f"Arrow cannot read all of it ({error}); convert it to plain columns"
        ) from error


def own(raw: object) -> object:
    """Return raw data in memory that nobody else can write to; a ``ParquetSource`` stays what it is."""
    return raw if isinstance(raw, ParquetSource) else private_copy(fingerprint.to_table(raw))


def stage(staging: StagingArea, raw: object, taken: Fingerprint) -> RawReference:
    """Put raw data where a worker can read them; a ``ParquetSource`` already lies there."""
    if isinstance(raw, ParquetSource):
        return RawReference(kind="parquet", path=str(raw.path))
    name = taken.digest if taken.method is not HashMethod.TAIL else fingerprint.content_digest(raw)
    path = staging.reserve(name) or staging.write(name, fingerprint.to_table(raw))
    return RawReference(kind="staged", path=path)


def read(
    reference: RawReference, staging: StagingArea, settings: Settings, expected: Fingerprint, *, wanted: str
) -> Loaded:
    """Read raw data as the feature wants them (``pandas``, ``arrow`` or ``dataset``) and make sure they are what was fingerprinted.

    The digest is taken from what was really read, never from a footer's word. Raises
    ``SourceChanged`` when it differs, ``SourceNotAllowed`` for a path outside the
    allowed folders. A staged copy that is damaged is removed, so that the next
    request stages it anew.
    """
    if reference.kind != "staged" and wanted == "dataset":
        return _watched(_source(reference, staging, settings), expected)
    return Loaded(_as_wanted(_read_table(reference, staging, settings, expected), wanted))


class Reader:
    """Reads raw data for several computations in turn; what the next one wants too is read and checked once.

    Only a table in memory is shared, from which every computation gets a frame of its
    own: a file may change from one computation to the next.
    """

    def __init__(self, staging: StagingArea, settings: Settings) -> None:
        self._staging = staging
        self._settings = settings
        self._known: tuple[RawReference, Fingerprint] | None = None
        self._table: pa.Table | None = None

    def read(self, reference: RawReference, expected: Fingerprint, *, wanted: str) -> Loaded:
        """Do what ``rawdata.read`` does."""
        if reference.kind != "staged" and wanted == "dataset":
            return read(reference, self._staging, self._settings, expected, wanted=wanted)
        if self._table is None or self._known != (reference, expected):
            self._table = None  # freed before the next is read
            self._table = _read_table(reference, self._staging, self._settings, expected)
            self._known = (reference, expected)
        return Loaded(_as_wanted(self._table, wanted))


class Taker:
    """Gives features of this process what a worker would give them; data that the next one wants too are copied once.

    The very same conversion, so that a function cannot tell where it runs: an index
    ``freq``, which no key commits to, is not passed on.
    """

    def __init__(self) -> None:
        self._last: tuple[object, Fingerprint, pa.Table] | None = None

    def take(self, raw: object, expected: Fingerprint, *, wanted: str) -> Loaded:
        """Copy in-memory raw data, or read a source, and make sure that the copy is what was fingerprinted.

        Whoever holds the raw data may change them at any moment, and a feature may
        change its own. Raises ``SourceChanged``.
        """
        if isinstance(raw, ParquetSource):
            source = ParquetSource(raw.path.resolve())
            if wanted == "dataset":
                return _watched(source, expected)
            table = fingerprint.read_table(source)
            _check(str(raw.path), table, expected)
            return Loaded(_as_wanted(table, wanted))
        last = self._last
        if last is None or last[0] is not raw or last[1] != expected:
            self._last = None  # freed before the next is made
            table = private_copy(fingerprint.to_table(raw))
            _check(IN_MEMORY, table, expected)
            self._last = last = (raw, expected, table)
        return Loaded(_as_wanted(last[2], wanted))


def allowed_path(path: str, staging: StagingArea, settings: Settings) -> Path:
    """Resolve links and make sure that a path lies below ``DATA_ROOTS`` or the store; raises ``SourceNotAllowed``."""
    resolved = Path(path).resolve()
    folder = staging.capabilities.folder
    roots = [*settings.data_roots, *([] if folder is None else [folder])]
    if not any(resolved.is_relative_to(Path(root).resolve()) for root in roots):
        raise SourceNotAllowed(path, [str(root) for root in roots])
    return resolved


def _read_table(reference: RawReference, staging: StagingArea, settings: Settings, expected: Fingerprint) -> pa.Table:
    if reference.kind == "staged":
        return _read_staged(reference, staging, expected)
    table = fingerprint.read_table(_source(reference, staging, settings))
    _check(reference.path, table, expected)
    return table


def _source(reference: RawReference, staging: StagingArea, settings: Settings) -> ParquetSource:
    source = ParquetSource(allowed_path(reference.path, staging, settings))
    if not source.path.exists():
        raise SourceChanged(reference.path, "there is no such file or folder; check the path on the worker's host")
    return source


def _read_staged(reference: RawReference, staging: StagingArea, expected: Fingerprint) -> pa.Table:
    try:
        table = staging.read(reference.path)
    except SourceChanged:
        staging.discard(reference.path)
        raise
    except StorageUnavailable as error:
        raise SourceChanged(reference.path, error.reason) from error
    try:
        _check(reference.path, table, expected)
    except SourceChanged:
        if fingerprint.content_digest(table) != key_of(reference.path):  # or it is whole, and the request lies
            staging.discard(reference.path)
        raise
    return table


def _check(path: str, raw: object, expected: Fingerprint) -> None:
    if expected.method is HashMethod.TAIL:
        found = fingerprint.identify(raw, threshold_bytes=0, policy="tail").fingerprint.digest
    else:
        found = fingerprint.content_digest(raw)
    if found != expected.digest:
        raise SourceChanged(path, "its content is not what was fingerprinted; ask again with the present data")


def _watched(source: ParquetSource, expected: Fingerprint) -> Loaded:
    since_ns = sources.now_ns()
    before = sources.stamp(source)
    _check(str(source.path), source, expected)
    return Loaded(fingerprint.to_dataset(source), Watch(source, expected, before, since_ns))


def _as_wanted(raw: object, wanted: str) -> Any:
    """Give data in the one form that all data of their fingerprint have, so that a function sees nothing that no key commits to."""
    if wanted == "dataset":
        return fingerprint.to_dataset(raw)
    table = fingerprint.to_table(raw)
    return fingerprint.to_frame(table) if wanted == "pandas" else table
