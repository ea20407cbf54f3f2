"""Raw data on their way from a trainer to a worker, and the check that they arrived unchanged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds

from fstore import fingerprint, results
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
    return RawReference(kind="staged", path=files.stage_raw(name, fingerprint.to_table(raw)))


def read(reference: RawReference, files: Files, settings: Settings, expected: Fingerprint, *, wanted: str) -> Any:
    """Read raw data as the feature wants them (``pandas``, ``arrow`` or ``dataset``) and make sure they are what was fingerprinted.

    The digest is taken from what was really read, never from a footer's word. Raises
    ``SourceChanged`` when it differs, ``SourceNotAllowed`` for a path outside the
    allowed folders. A staged copy that is damaged is removed, so that the next
    request stages it anew.
    """
    if reference.kind == "staged":
        table = _read_staged(reference, files, expected)
        return _as_wanted(table, wanted)
    source = ParquetSource(allowed_path(reference.path, files, settings))
    if not source.path.exists():
        raise SourceChanged(reference.path, "there is no such file or folder; check the path on the worker's host")
    if wanted == "dataset":
        _check(reference.path, source, expected)
        return _dataset(source)
    table = fingerprint.read_table(source)
    _check(reference.path, table, expected)
    return _as_wanted(table, wanted)


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
        return results.decode(table)
    return table if wanted == "arrow" else ds.dataset(table)
