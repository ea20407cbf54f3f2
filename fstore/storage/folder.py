"""The store folder: stage, publish, read, list.

Layout below the root::

    STORE_ID                                   must equal the database's
    entries/<aa>/<key>.<token>.parquet         published, mode 0440, never changed, name never reused
    entries/<aa>/.tmp-<token>                  being written
    staging/raw/<aa>/<digest>.arrow            raw data on their way to a worker
    staging/results/<key>.<token>.parquet      results on their way to a publisher
    quarantine/                                files found wrong, kept for a look

``<aa>`` are the first two hex digits of the key, so that no folder grows without
bound. No caller text ever becomes part of a path.
"""

from __future__ import annotations

import errno
import os
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from fstore.errors import EntryCorrupt, InvalidRequest, SourceChanged, StorageUnavailable, StoreMismatch
from fstore.model import Locator
from fstore.results.stored_tables import UnstorableResult, meant_form, stored_form
from fstore.storage.durable import (
    as_read,
    make_folder,
    read_whole,
    seal,
    sync_folder,
    translated,
    write_arrow,
    write_durably,
    write_parquet,
)
from fstore.storage.hashing import hasher_for

STORE_ID = "STORE_ID"
TEMPORARY = ".tmp-"
_PARALLEL_FROM = 1 << 20  # below, starting threads costs more than they bring
_UNWRITABLE = (pa.ArrowException, ValueError, KeyError, NotImplementedError)
# Over NFS a fresh file may be unknown to this host for a moment, and a handle may go stale.
_NOT_YET_VISIBLE_WAITS_S = (0.02, 0.2, 0.8)


@dataclass(frozen=True, slots=True)
class Stored:
    """A file that is complete and durable; ``path`` is relative to the root, ``content_digest`` the BLAKE3 of its bytes."""

    path: str
    file_size_bytes: int
    content_digest: str


class Files:
    """One store folder."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def create(self, store_id: str) -> None:
        """Make the folders and write ``STORE_ID``, unless they are there; raises ``StoreMismatch`` for another store's folder."""
        with translated(self.root):
            for folder in ("entries", "staging/raw", "staging/results", "quarantine"):
                make_folder(self.root / folder)
            entries = self.root / "entries"
            for shard in range(256):  # all at once, so that no publish has to make one durable first
                (entries / f"{shard:02x}").mkdir(exist_ok=True)
            sync_folder(entries)
            marker = self.root / STORE_ID
            if not marker.exists():
                mine = marker.with_name(f"{TEMPORARY}{uuid.uuid4().hex}")
                write_durably(mine, store_id.encode())
                with suppress(FileExistsError):  # two that start at once: the first one's word counts
                    os.link(mine, marker)
                mine.unlink()
                sync_folder(self.root)
        self.check(store_id)

    def check(self, store_id: str) -> None:
        """Make sure that this folder belongs to the database; raises ``StoreMismatch``."""
        found = self.store_id()
        if found != store_id:
            raise StoreMismatch(str(self.root), found, store_id)

    def store_id(self) -> str:
        """Return the folder's store id, empty when it has none."""
        try:
            return (self.root / STORE_ID).read_text(encoding="ascii").strip()
        except FileNotFoundError:
            return ""
        except OSError as error:
            raise StorageUnavailable(str(self.root), str(error)) from error

    def publish(self, key: str, table: pa.Table) -> Stored:
        """Write a result durably under a name of its own: temp file in the target folder, fsync, rename, fsync of the folder.

        The name is never used again. Without a manifest row the file is garbage, so a
        crash at any point leaves nothing that is ever read. The bytes are read back for
        the digest: what it vouches for is what lies on disk.
        """
        return self._publish(key, lambda temporary: _write_result(table, temporary))

    def publish_bytes(self, key: str, data: pa.Buffer) -> Stored:
        """Do the same for the bytes of a Parquet file that was checked already: written again it might read otherwise."""

        def write(temporary: Path) -> None:
            with temporary.open("wb") as file:
                file.write(memoryview(data))

        return self._publish(key, write)

    def _publish(self, key: str, write: Callable[[Path], None]) -> Stored:
        token = uuid.uuid4().hex[:16]
        folder = self.root / "entries" / key[:2]
        temporary = folder / f"{TEMPORARY}{token}"
        final = folder / f"{key}.{token}.parquet"
        with translated(folder):
            make_folder(folder)
            try:
                write(temporary)
                digest, size = seal(temporary)
                temporary.rename(final)
            except BaseException:
                temporary.unlink(missing_ok=True)
                raise
            sync_folder(folder)
        return Stored(str(final.relative_to(self.root)), size, digest)

    def read(self, locator: Locator) -> pa.Table:
        """Read an entry and verify size and digest of every byte; raises ``EntryCorrupt`` rather than return a wrong one."""
        data = self.read_bytes(locator)
        try:
            # ParquetFile rather than read_table: the same reader without the data set machinery, at half the time.
            table = meant_form(pq.ParquetFile(pa.BufferReader(data)).read(use_threads=len(data) > _PARALLEL_FROM))
        except (pa.ArrowException, OSError, ValueError, TypeError, KeyError, NotImplementedError) as error:
            raise EntryCorrupt(locator.key, locator.path, f"unreadable: {error}") from error
        if table.num_rows != locator.rows:
            raise EntryCorrupt(locator.key, locator.path, f"rows: {table.num_rows} instead of {locator.rows}")
        return table

    def read_bytes(self, locator: Locator) -> pa.Buffer:
        """Return the bytes of an entry, verified against its size and digest."""
        data = self._bytes(locator)
        if len(data) != locator.file_size_bytes:
            raise EntryCorrupt(
                locator.key, locator.path, f"size: {len(data)} bytes instead of {locator.file_size_bytes}"
            )
        if hasher_for(len(data)).update(data).hexdigest() != locator.content_digest:
            raise EntryCorrupt(locator.key, locator.path, "digest: the bytes are not those that were written")
        return data

    def _bytes(self, locator: Locator) -> pa.Buffer:
        path = self.root / locator.path
        cause: OSError
        for wait_s in (*_NOT_YET_VISIBLE_WAITS_S, None):
            try:
                return read_whole(path)
            except FileNotFoundError as error:
                fault, cause = "missing", error
            except OSError as error:
                if error.errno != errno.ESTALE:
                    raise StorageUnavailable(str(path), str(error)) from error
                fault, cause = "missing: stale handle", error
            if wait_s is not None:
                time.sleep(wait_s)
        raise EntryCorrupt(locator.key, locator.path, fault) from cause

    def find_staged_raw(self, digest: str) -> str | None:
        """Mark raw data that are staged already as used now, so that upkeep leaves them alone, and return their path, or None."""
        path = _staged_raw(digest)
        try:
            os.utime(self.root / path)
        except OSError:
            return None
        return path

    def stage_raw(self, digest: str, table: pa.Table) -> str:
        """Put raw data where workers can read them, and return the path relative to the root."""
        path = _staged_raw(digest)
        final = self.root / path
        with translated(final.parent):
            final.parent.mkdir(parents=True, exist_ok=True)
            temporary = final.with_name(f"{TEMPORARY}{uuid.uuid4().hex[:16]}")
            try:
                write_arrow(table, temporary, batch_rows=1 << 20)
                temporary.chmod(0o440)
                temporary.rename(final)
            except BaseException:
                temporary.unlink(missing_ok=True)
                raise
        return path

    def read_staged_raw(self, path: str) -> pa.Table:
        """Read staged raw data; raises ``SourceChanged`` when they are gone or damaged."""
        try:
            with pa.OSFile(str(self.inside(path)), "rb") as source:
                return pa.ipc.open_file(pa.BufferReader(source.read_buffer())).read_all()
        except FileNotFoundError as error:
            raise SourceChanged(path, "the staged copy is gone; ask again to stage it anew") from error
        except (pa.ArrowException, OSError, ValueError) as error:
            raise SourceChanged(
                path, f"the staged copy cannot be read ({error}); ask again to stage it anew"
            ) from error

    def stage_result(self, key: str, table: pa.Table) -> str:
        """Leave a result where a worker finds it to publish it, and return the path relative to the root."""
        final = self.root / "staging" / "results" / f"{key}.{uuid.uuid4().hex[:16]}.parquet"
        temporary = final.with_name(f"{TEMPORARY}{final.name}")
        with translated(final.parent):
            final.parent.mkdir(parents=True, exist_ok=True)
            try:
                _write_result(table, temporary)
                temporary.rename(final)
            except BaseException:
                temporary.unlink(missing_ok=True)
                raise
        return str(final.relative_to(self.root))

    def read_staged_result(self, path: str, *, digest: str | None = None) -> tuple[pa.Table, pa.Buffer, str]:
        """Read a staged result: its table, the bytes that it lies in and their BLAKE3.

        Raises ``InvalidRequest`` for a path that is not one, and for bytes whose digest
        is not the one given.
        """
        resolved = self.inside(path)
        if resolved.parent != (self.root / "staging" / "results").resolve():
            raise InvalidRequest("staged_path", "is not a staged result")
        try:
            data = read_whole(resolved)
            found = hasher_for(len(data)).update(data).hexdigest()
            if digest is not None and found != digest:
                raise InvalidRequest("staged_path", "holds other bytes than were staged; ask again")
            reader = pq.ParquetFile(pa.BufferReader(data), page_checksum_verification=True)
            return meant_form(reader.read(use_threads=len(data) > _PARALLEL_FROM)), data, found
        except (pa.ArrowException, OSError, ValueError, TypeError, KeyError, NotImplementedError) as error:
            raise InvalidRequest("staged_path", f"cannot be read: {error}") from error

    def discard(self, path: str) -> None:
        """Remove a file that no row names; a file that is gone already is as good."""
        with suppress(OSError):
            self.inside(path).unlink(missing_ok=True)

    def quarantine(self, path: str) -> str | None:
        """Move a file that was found wrong out of the way, and return where it lies now, or None when it is gone."""
        source = self.root / path
        target = self.root / "quarantine" / source.name
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            source.rename(target)
        except OSError:
            return None
        return str(target.relative_to(self.root))

    def inside(self, path: str) -> Path:
        """Resolve a path relative to the root; raises ``StorageUnavailable`` if it leads outside."""
        resolved = (self.root / path).resolve()
        if not resolved.is_relative_to(self.root.resolve()):
            raise StorageUnavailable(path, "leads outside the store folder")
        return resolved


def _staged_raw(digest: str) -> str:
    return f"staging/raw/{digest[:2]}/{digest}.arrow"


def _write_result(table: pa.Table, path: Path) -> None:
    """Write a result in the form that Parquet holds; raises ``UnstorableResult`` where it has none."""
    try:
        write_parquet(stored_form(table), path)
    except MemoryError:
        raise
    except _UNWRITABLE as error:
        raise UnstorableResult(_unwritable(table, error)) from error


def _unwritable(table: pa.Table, error: Exception) -> str:
    for at, field in enumerate(table.schema):
        try:
            as_read(table.select([at]))
        except _UNWRITABLE:
            return f"column {field.name!r}: Parquet cannot hold all its values of type {field.type}; cast it to another type"
    return f"Parquet cannot hold what the feature function returned: {error}"
