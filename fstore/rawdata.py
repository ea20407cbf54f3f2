"""Raw data on their way from a trainer to a worker, and the check that they arrived unchanged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds

from fstore import fingerprint
from fstore.content.parquet_source import files_of, schema_of_source
from fstore.errors import SourceChanged, SourceNotAllowed, StorageUnavailable
from fstore.files import Files
from fstore.messages import RawReference
from fstore.model import Fingerprint, HashMethod, ParquetSource
from fstore.settings import Settings


def stage(files: Files, raw: object, taken: Fingerprint) -> RawReference:
    """Put raw data where a worker can read them; a ``ParquetSource`` already lies there."""
    if isinstance(raw, ParquetSource):
        return RawReference(kind="parquet", path=str(raw.path))
    name = taken.digest if taken.method is not HashMethod.TAIL else fingerprint.content_digest(raw)
    path = files.find_staged_raw(name) or files.stage_raw(name, fingerprint.to_table(raw))
    return RawReference(kind="staged", path=path)


def read(reference: RawReference, files: Files, settings: Settings, expected: Fingerprint, *, wanted: str) -> Any:
    """Read raw data as the feature wants them (``pandas``, ``arrow`` or ``dataset``) and make sure they are what was fingerprinted.

    The digest is taken from what was really read, never from a footer's word. Raises
    ``SourceChanged`` when it differs, ``SourceNotAllowed`` for a path outside the
    allowed folders. A staged copy that is damaged is removed, so that the next
    request stages it anew.
    """
    if reference.kind != "staged" and wanted == "dataset":
        source = _source(reference, files, settings)
        _check(reference.path, source, expected)
        return _dataset(source)
    return _as_wanted(_read_table(reference, files, settings, expected), wanted)


class Reader:
    """Reads raw data for several computations in turn; what the next one wants too is read and checked once.

    Only a table in memory is shared, from which every computation gets a frame of its
    own: a file may change from one computation to the next.
    """

    def __init__(self, files: Files, settings: Settings) -> None:
        self._files = files
        self._settings = settings
        self._known: tuple[RawReference, Fingerprint] | None = None
        self._table: pa.Table | None = None

    def read(self, reference: RawReference, expected: Fingerprint, *, wanted: str) -> Any:
        """Do what ``rawdata.read`` does."""
        if reference.kind != "staged" and wanted == "dataset":
            return read(reference, self._files, self._settings, expected, wanted=wanted)
        if self._table is None or self._known != (reference, expected):
            self._table = None  # freed before the next is read
            self._table = _read_table(reference, self._files, self._settings, expected)
            self._known = (reference, expected)
        return _as_wanted(self._table, wanted)


def convert(raw: object, *, wanted: str) -> Any:
    """Turn in-memory raw data into what a worker would give the feature, without going through a file.

    The very same conversion, so that a function cannot tell where it runs: an index
    ``freq``, which no key commits to, is not passed on.
    """
    if isinstance(raw, ParquetSource) and wanted == "dataset":
        return _dataset(raw)
    return _as_wanted(fingerprint.to_table(raw), wanted)


def allowed_path(path: str, files: Files, settings: Settings) -> Path:
    """Resolve links and make sure that a path lies below ``DATA_ROOTS`` or the store; raises ``SourceNotAllowed``."""
    resolved = Path(path).resolve()
    roots = [*settings.data_roots, files.root]
    if not any(resolved.is_relative_to(Path(root).resolve()) for root in roots):
        raise SourceNotAllowed(path, [str(root) for root in roots])
    return resolved


def _read_table(reference: RawReference, files: Files, settings: Settings, expected: Fingerprint) -> pa.Table:
    if reference.kind == "staged":
        return _read_staged(reference, files, expected)
    table = fingerprint.read_table(_source(reference, files, settings))
    _check(reference.path, table, expected)
    return table


def _source(reference: RawReference, files: Files, settings: Settings) -> ParquetSource:
    source = ParquetSource(allowed_path(reference.path, files, settings))
    if not source.path.exists():
        raise SourceChanged(reference.path, "there is no such file or folder; check the path on the worker's host")
    return source


def _read_staged(reference: RawReference, files: Files, expected: Fingerprint) -> pa.Table:
    try:
        table = files.read_staged_raw(reference.path)
        _check(reference.path, table, expected)
    except SourceChanged:
        files.discard(reference.path)
        raise
    except StorageUnavailable as error:
        raise SourceChanged(reference.path, error.reason) from error
    return table


def _check(path: str, raw: object, expected: Fingerprint) -> None:
    if expected.method is HashMethod.TAIL:
        found = fingerprint.identify(raw, threshold_bytes=0, policy="tail").fingerprint.digest
    else:
        found = fingerprint.content_digest(raw)
    if found != expected.digest:
        raise SourceChanged(path, "its content is not what was fingerprinted; ask again with the present data")


def _dataset(source: ParquetSource) -> ds.Dataset:
    # The schema is the one the fingerprint was taken under: Parquet alone forgets some types.
    return ds.dataset([str(path) for path in files_of(source)], format="parquet", schema=schema_of_source(source))


def _as_wanted(table: pa.Table, wanted: str) -> Any:
    if wanted == "pandas":
        return fingerprint.to_frame(table)  # what results carry besides, no fingerprint covers
    return table if wanted == "arrow" else ds.dataset(table)
