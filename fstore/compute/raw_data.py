"""Raw data on their way from a trainer to a feature, and the check that they arrived unchanged."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pandas as pd
import pyarrow as pa

from fstore.compute.private_copies import private_copy
from fstore.errors import SourceChanged, SourceNotAllowed, StorageUnavailable
from fstore.features import Feature
from fstore.fingerprint import (
    ParquetInput,
    RawInput,
    SourceWatch,
    TableInput,
    content_digest,
    identify,
    limits_of,
    open_raw,
    to_dataset,
    to_table,
)
from fstore.frames import to_frame
from fstore.model import Fingerprint, HashMethod, ObjectUrl, ParquetSource
from fstore.results import encode_result
from fstore.settings import DataRoot, Settings, folder_of, path_here, sent_path, urls_of
from fstore.storage import LastRead, StagingArea, key_of

if TYPE_CHECKING:
    from fstore.broker import RawReference

IN_MEMORY = "in memory"


class Ready(Protocol):
    """What a feature can be computed from now."""

    def result(self, feature: Feature, config: Mapping[str, Any]) -> object:
        """Call its function, as often as it takes, and return what is to be published."""
        ...


@dataclass(frozen=True, slots=True)
class Loaded:
    """Raw data as a feature wants them; ``settle`` what it returns before that is published."""

    value: Any
    streamed: StreamedSource | None = None

    def result(self, feature: Feature, config: Mapping[str, Any]) -> object:
        """Call the feature's function with them, and settle what it returns."""
        from fstore.calling import call_feature  # noqa: PLC0415 a trainer that hits only holds and hands over

        return self.settle(call_feature(feature, self.value, config))

    def settle(self, result: object) -> object:
        """Return the result read to its end; raises ``SourceChanged`` if the data may have been others."""
        if not isinstance(result, pd.DataFrame | pd.Series):
            # A stream can be read once perhaps, and may still be reading from the source.
            result = encode_result(result)
        if self.streamed is not None:
            self.streamed.check()
        return result


@dataclass(frozen=True, slots=True)
class StreamedSource:
    """A source that a feature reads by itself, what errors call it, and what it was before that."""

    source: RawInput
    name: str
    expected: Fingerprint
    watch: SourceWatch | None
    """None for a source that is read from a copy, which nobody else can touch."""

    def check(self) -> None:
        """Make sure that nobody touched the source meanwhile; raises ``SourceChanged``."""
        if self.watch is None:
            return
        with told_by_name(self.source, self.name):
            if not self.watch.is_same():
                raise SourceChanged(
                    self.name, "it changed while the feature read it; ask again when its writer is done"
                )
            if not self.watch.is_settled:  # too fresh for a change to be sure to show in its times
                _check(self.name, self.source, self.expected)


def hold_raw(raw: object, settings: Settings | None = None) -> RawInput:
    """Return raw data as they are now, whatever their owner does next with pandas; copies nothing yet.

    A frame is shared under copy-on-write. A stream is read, once: a query that is run again may answer otherwise. What
    is written to memory past pandas is left to ``take`` to notice. ``settings`` bound what a Parquet file may ask.
    """
    if settings is None:
        return open_raw(raw).held()
    return open_raw(raw, limits_of(settings), settings=settings).held()


def own_raw(raw: object) -> RawInput:
    """Return raw data in memory that nobody else can write to; a ``ParquetSource`` stays what it is."""
    return data if (data := open_raw(raw)).path is not None else TableInput(private_copy(data.table()))


def stage_raw(staging: StagingArea, raw: object, taken: Fingerprint, *, roots: Sequence[DataRoot] = ()) -> RawReference:
    """Put raw data where a worker can read them; a ``ParquetSource`` lies there, below ``roots`` perhaps."""
    from fstore.broker import RawReference  # noqa: PLC0415 a hit asks nobody

    data = open_raw(raw)
    if data.path is not None:
        sent = str(data.path) if isinstance(data.path, ObjectUrl) else sent_path(data.path, roots)
        return RawReference(kind="parquet", path=sent, version=data.version)
    name, area = _staged_name(data, taken), staging.capabilities
    looks = area.folder is not None or data.nbytes > 64 << 10  # small objects are sent sooner than they are looked for
    path = (staging.reserve(name) if looks else None) or staging.write(name, data.table())
    return RawReference(kind="staged", path=path)


def stage_raw_together(staging: StagingArea, raw: Sequence[tuple[RawInput, Fingerprint]]) -> list[RawReference]:
    """Put several where a worker can read them, small and in memory, in few files."""
    from fstore.broker import RawReference  # noqa: PLC0415 see above

    paths = staging.write_together((_staged_name(data, taken), data.table()) for data, taken in raw)
    return [RawReference(kind="staged", path=path) for path in paths]


def _staged_name(data: RawInput, taken: Fingerprint) -> str:
    return taken.digest if taken.method is not HashMethod.TAIL else content_digest(data)


def read_raw(
    reference: RawReference, staging: StagingArea, settings: Settings, expected: Fingerprint, *, wanted: str
) -> Loaded:
    """Read raw data as ``pandas``, ``arrow`` or ``dataset``, and check that these were fingerprinted.

    The digest is taken from what was really read, never from a footer's word. Raises ``SourceChanged`` when it differs,
    ``SourceNotAllowed`` for a path outside the allowed folders. A damaged staged copy is removed: the next is staged anew.
    """
    if reference.kind != "staged" and wanted == "dataset":
        return _streamed(source_of(reference, staging, settings), expected, name=reference.path)
    return Loaded(_as_wanted(_read_table(reference, staging, settings, expected), wanted))


class Reader:
    """Reads raw data for several computations in turn; what the next wants too is read once.

    Only a table in memory is shared, from which every computation gets a frame of its own: a file may change from one
    to the next. A file of several staged ones is read once.
    """

    def __init__(self, staging: StagingArea, settings: Settings) -> None:
        self._staging = staging
        self._settings = settings
        self._known: tuple[RawReference, Fingerprint] | None = None
        self._table: pa.Table | None = None
        self.last = LastRead()

    def read(self, reference: RawReference, expected: Fingerprint, *, wanted: str) -> Loaded:
        """Do what ``read_raw`` does."""
        if reference.kind != "staged" and wanted == "dataset":
            return read_raw(reference, self._staging, self._settings, expected, wanted=wanted)
        if self._table is None or self._known != (reference, expected):
            self._table = None  # freed before the next is read
            self._table = _read_table(reference, self._staging, self._settings, expected, self.last)
            self._known = (reference, expected)
        return Loaded(_as_wanted(self._table, wanted))


class Taker:
    """Gives features of this process what a worker would; what the next wants too is copied once.

    The very same conversion, so that a function cannot tell where it runs: an index ``freq`` is not passed on.
    """

    def __init__(self) -> None:
        self._last: tuple[object, Fingerprint, pa.Table] | None = None

    def take(self, raw: object, expected: Fingerprint, *, wanted: str) -> Loaded:
        """Copy in-memory raw data, or read a source, and make sure that the copy is what was fingerprinted.

        Whoever holds the raw data may change them at any moment, and a feature its own. Raises ``SourceChanged``.
        """
        data = open_raw(raw)
        if data.path is not None:
            source = data.resolved() if isinstance(data, ParquetInput) else data
            if wanted == "dataset":
                return _streamed(source, expected, name=str(source.path))
            table = source.table()
            _check(str(data.path), table, expected)
            return Loaded(_as_wanted(table, wanted))
        last = self._last
        if last is None or last[0] is not raw or last[1] != expected:
            self._last = None  # freed before the next is made
            table = private_copy(data.table())
            _check(IN_MEMORY, table, expected)
            self._last = last = (raw, expected, table)
        return Loaded(_as_wanted(last[2], wanted))


def allowed_path(path: str, staging: StagingArea, settings: Settings) -> Path | ObjectUrl:
    """Find a path by its root's name, links resolved, below ``DATA_ROOTS`` or the store.

    An address is compared letter by letter; this host's settings say where its bucket is. Raises ``SourceNotAllowed``.
    """
    folder = staging.capabilities.folder
    roots = [*settings.data_roots, *([] if folder is None else [folder])]
    if ObjectUrl.is_url(path):
        url = ParquetSource(path).path
        if isinstance(url, ObjectUrl) and any(root.holds(url) for root in urls_of(settings.data_roots)):
            return url
    elif (here := path_here(path, roots)) is not None:
        resolved = here.resolve()
        folders = (place for root in roots if (place := folder_of(root)) is not None)
        if any(resolved.is_relative_to(place.resolve()) for place in folders):
            return resolved
    raise SourceNotAllowed(path, [str(root) for root in roots])


def source_of(reference: RawReference, staging: StagingArea, settings: Settings) -> RawInput:
    """Open the source a message names; raises ``SourceNotAllowed``, or ``SourceChanged`` for none."""
    path = allowed_path(reference.path, staging, settings)
    if isinstance(path, Path) and not path.exists():
        raise SourceChanged(reference.path, "there is no such file or folder; check the path on the worker's host")
    return open_raw(ParquetSource(path), limits_of(settings), settings=settings, version=reference.version)


def _read_table(
    reference: RawReference,
    staging: StagingArea,
    settings: Settings,
    expected: Fingerprint,
    last: LastRead | None = None,
) -> pa.Table:
    if reference.kind == "staged":
        return _read_staged(reference, staging, expected, last)
    source = source_of(reference, staging, settings)
    with told_by_name(source, reference.path):
        table = source.table()
    _check(reference.path, table, expected)
    return table


def _read_staged(
    reference: RawReference, staging: StagingArea, expected: Fingerprint, last: LastRead | None
) -> pa.Table:
    try:
        table = staging.read(reference.path, last=last)
    except SourceChanged:
        staging.discard(reference.path)
        raise
    except StorageUnavailable as error:
        raise SourceChanged(reference.path, error.reason) from error
    try:
        _check(reference.path, table, expected)
    except SourceChanged:
        if content_digest(table) != key_of(reference.path):  # or it is whole, and the request lies
            staging.discard(reference.path)
        raise
    return to_table(table)  # whoever wrote the file, and however


def _check(path: str, raw: object, expected: Fingerprint) -> None:
    is_tail = expected.method is HashMethod.TAIL
    tail = identify(raw, threshold_bytes=0, policy="tail").fingerprint.digest if is_tail else None
    if (tail or content_digest(raw)) != expected.digest:
        raise SourceChanged(path, "its content is not what was fingerprinted; ask again with the present data")


@contextmanager
def told_by_name(source: RawInput, name: str) -> Iterator[None]:
    """Let errors speak of a source as whoever asked knows it, not by its path on this host."""
    try:
        yield
    except SourceChanged as error:
        here = Path(error.path)
        if error.path == name or not isinstance(source.path, Path) or not here.is_relative_to(source.path):
            raise
        inner = here.relative_to(source.path).as_posix()
        raise SourceChanged(name if inner == "." else f"{name}/{inner}", error.reason) from error


def _streamed(source: RawInput, expected: Fingerprint, *, name: str) -> Loaded:
    with told_by_name(source, name):
        watch = SourceWatch(source.reader) if isinstance(source, ParquetInput) else None
        _check(name, source, expected)
        return Loaded(to_dataset(source), StreamedSource(source, name, expected, watch))


def _as_wanted(table: pa.Table, wanted: str) -> Any:
    """Give data in the one form of their fingerprint: a function sees nothing that no key commits to."""
    if wanted == "dataset":
        return to_dataset(table)
    return to_frame(table) if wanted == "pandas" else table
