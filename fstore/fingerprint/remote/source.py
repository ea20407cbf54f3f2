"""A Parquet source in a bucket, as one kind of raw data.

Its fingerprint comes from a sealed footer by one request, from the memo by one, or from
a scan of a copy. Whoever computes from it gets that very copy, so nothing can change
between what was digested and what a feature reads. Of data that are cut into partitions
the rows of those that are needed are read alone, and digested again.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.dataset as ds

from fstore.errors import InvalidRequest, SourceChanged
from fstore.fingerprint.footer import Progress
from fstore.fingerprint.parquet_limits import ParquetLimits
from fstore.fingerprint.parquet_source import ParquetReader
from fstore.fingerprint.raw_input import Digested, Origin, RawInput
from fstore.fingerprint.remote.objects import Pinned, RemoteFiles, told_of
from fstore.fingerprint.remote.rows import ObjectRows
from fstore.fingerprint.remote.scratch import Scratch
from fstore.fingerprint.seal import seal_in
from fstore.fingerprint.sources import ParquetInput
from fstore.fingerprint.stamps import ObjectStamp, SourceMemo
from fstore.model import ObjectUrl, ParquetSource
from fstore.runtime.parallel import each_of
from fstore.s3 import Buckets, Span

PIECE_BYTES = 8 << 20
PIECES_AT_ONCE = 4


class ObjectInput(RawInput):
    """A Parquet file in a bucket, or those below a prefix, of the version that was seen first."""

    def __init__(
        self, raw: ParquetSource, limits: ParquetLimits, buckets: Buckets, *, version: str | None = None
    ) -> None:
        if not isinstance(raw.path, ObjectUrl):
            raise TypeError(f"{raw.path} is no address of an object")
        self.path: ObjectUrl = raw.path
        self.remote = RemoteFiles(raw.path, buckets, limits, version=version)
        self._copied: tuple[ParquetInput, Scratch] | None = None
        self._parts: dict[int, ObjectRows] = {}

    @property
    def version(self) -> str | None:
        return self.remote.pinned_version

    @property
    def schema(self) -> pa.Schema:
        with self._told():
            return self._copy().schema

    @property
    def nbytes(self) -> int:
        return self.remote.size_bytes

    @property
    def cells(self) -> int:
        return 0

    def batches(self) -> Iterator[pa.RecordBatch]:
        with self._told():
            yield from self._copy().batches()

    def digest(self, memo: SourceMemo | None, progress: Progress | None) -> Digested:
        if self.remote.is_single:
            with self.remote.open(self.remote.files()[0]) as file:
                sealed = seal_in(file)
            if sealed is not None and sealed.root is not None:
                return Digested(sealed.root, Origin.FOOTER, sealed.data_bytes)
        stamp = self.remote.stamp()
        if memo and (digest := memo.recall(stamp)):
            return Digested(digest, Origin.MEMO, self.remote.size_bytes)
        scanned = self.scan(progress)
        if memo:  # what was scanned is the copy of just this version
            memo.remember(stamp, scanned.digest)
        return scanned

    def scan(self, progress: Progress | None = None) -> Digested:
        with self._told():
            return self._copy().scan(progress)

    def tail(self) -> Digested:
        with self._told():
            return self._copy().tail()

    def table(self) -> pa.Table:
        with self._told():
            return self._copy().table()

    def dataset(self) -> ds.Dataset:
        with self._told():
            return self._copy().dataset()

    def objects(self) -> ObjectInput:
        return self

    def stamps(self) -> list[ObjectStamp]:
        """Return what each file stays known by."""
        return self.remote.stamps()

    def part(self, at: int) -> ObjectRows:
        """Open one of the files by its end, once."""
        if (known := self._parts.get(at)) is None:
            known = self._parts[at] = ObjectRows.of(self.remote, self.remote.files()[at])
        return known

    @contextmanager
    def copied(self, at: int) -> Iterator[ParquetReader]:
        """Lend a copy of one of the files, which goes with the block."""
        seen = self.remote.files()[at]
        self._check_room(seen.facts.size_bytes)
        scratch = Scratch(self.remote.buckets.settings.scratch)
        try:
            place = scratch.folder / "000000.parquet"
            self._download(seen, scratch, place)
            with self._told_of_copy(place, scratch.folder):
                yield ParquetReader(ParquetSource(place), self.remote.limits)
        finally:
            scratch.close()

    def _copy(self) -> ParquetInput:
        """Return the copy of the files on this host, made the first time; it goes with this object."""
        if self._copied is None:
            self._check_room(self.remote.size_bytes)
            scratch = Scratch(self.remote.buckets.settings.scratch)
            try:
                for number, seen in enumerate(self.remote.files()):
                    self._download(seen, scratch, scratch.folder / f"{number:06d}.parquet")
            except BaseException:
                scratch.close()
                raise
            place = scratch.folder / "000000.parquet" if self.remote.is_single else scratch.folder
            self._copied = ParquetInput(ParquetSource(place), self.remote.limits), scratch
        return self._copied[0]

    def _check_room(self, size_bytes: int) -> None:
        most = self.remote.buckets.settings.scratch_max_bytes
        if most is not None and size_bytes > most:
            raise InvalidRequest(
                "raw_data",
                f"{self.path} has {size_bytes} bytes, and a copy may have {most}; "
                "raise FEATURE_STORE_SCRATCH_MAX_BYTES if there is room",
            )

    def _download(self, seen: Pinned, scratch: Scratch, path: Path) -> None:
        size = seen.facts.size_bytes
        client = self.remote.client
        with scratch.told(), path.open("xb", buffering=0) as file:

            def fill(span: Span) -> None:
                data = client.get(seen.key, span, pin=seen.facts).data
                file_at = span.offset
                view = memoryview(data)
                while view:
                    written = os.pwrite(file.fileno(), view, file_at)
                    view, file_at = view[written:], file_at + written

            spans = (Span(at, min(PIECE_BYTES, size - at)) for at in range(0, size, PIECE_BYTES))
            with told_of(str(self.path)):
                for _ in each_of(fill, spans, at_once=PIECES_AT_ONCE):
                    pass
            if file.seek(0, 2) != size:
                raise SourceChanged(str(self.path), f"{seen.key} is shorter than it was")

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Let errors speak of the source as whoever asked knows it, not of a copy."""
        try:
            yield
        except (SourceChanged, InvalidRequest) as error:
            if self._copied is None:
                self._tell(error, None, None)
            else:
                self._tell(error, self._copied[0].path, self._copied[1].folder)
            raise

    @contextmanager
    def _told_of_copy(self, place: Path, folder: Path) -> Iterator[None]:
        try:
            yield
        except (SourceChanged, InvalidRequest) as error:
            self._tell(error, place, folder)
            raise

    def _tell(self, error: SourceChanged | InvalidRequest, place: Path | None, folder: Path | None) -> None:
        """Raise an error anew that names a copy."""
        if isinstance(error, SourceChanged):
            if error.path != str(self.path):
                raise SourceChanged(str(self.path), error.reason) from error
        elif folder is not None and str(folder) in error.reason:
            raise InvalidRequest(error.field, error.reason.replace(str(place), str(self.path))) from error
