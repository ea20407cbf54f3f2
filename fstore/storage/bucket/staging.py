"""Staged files in a bucket: names never used again, reserved by marks beside them.

Nothing can be touched in a bucket, and a mark and a deletion do not exclude each other. So whoever
reserves raw data puts a mark and then looks whether the data are still there and nobody means to
delete them; whoever deletes says so first and then looks for marks. Of two at once at least one
sees the other: what is reserved stays, or its reserver is told that it is not there.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa

from fstore.errors import StorageUnavailable
from fstore.s3 import Listed, ObjectMissing
from fstore.storage import layout
from fstore.storage.bucket.listing import list_prefix, list_uploads, unfinished_of
from fstore.storage.bucket.place import Place
from fstore.storage.interface import Listing, StagedResult
from fstore.storage.layout import FoundFile
from fstore.storage.packed.raw_parts import LastRead, in_files, part_of, raw_part
from fstore.storage.parquet import arrow_bytes, result_bytes, write_arrow, write_result
from fstore.storage.verify import raw_gone, raw_in, result_gone, result_in

_USED, _GOING = ".used-", ".going-"
_MARK = re.compile(rf"(.+\.arrow)({re.escape(_USED)}|{re.escape(_GOING)})[0-9a-f]+")
_PROBE = re.compile(r"[0-9a-f]{16}")
_STAGED_PATH = re.compile(f"{layout.STAGED_RAW_PATH.pattern}|{layout.STAGED_RESULT_PATH.pattern}", re.ASCII)


class BucketStaging:
    """What is staged in a store whose root is a bucket.

    See ``StagingArea`` for what each method promises.
    """

    def __init__(self, place: Place) -> None:
        self._place, self._client = place, place.client
        self.capabilities = place.capabilities

    def reserve(self, digest: str) -> str | None:
        """Mark raw data that are staged already, and look again."""
        try:
            staged = [one for one in self._marked(f"{_raw_folder(digest)}{digest}.") if one.stays]
            if not staged:
                return None
            path = max(staged, key=lambda one: one.used_ns).path
            self._client.put(self._place.key(f"{path}{_USED}{layout.new_token()}"), b"")
            return path if any(one.path == path and one.stays for one in self._marked(path)) else None
        except StorageUnavailable:
            return None

    def write(self, digest: str, table: pa.Table) -> str:
        """Put raw data under a new name."""
        path = f"{_raw_folder(digest)}{digest}.{layout.new_token()}.arrow"
        with self._place.encoded(table, arrow_bytes, _write_arrow) as data:
            self._place.send(path, data)
        return path

    def write_together(self, raw: Iterable[tuple[str, pa.Table]]) -> list[str]:
        """Put each file under a new name."""
        found = list[str]()
        for some in in_files(raw):
            path, paths, pieces = layout.new_raw_parts(some)
            self._place.send(path, pa.py_buffer(b"".join(pieces)))
            found += paths
        return found

    def read(self, path: str, *, last: LastRead | None = None) -> pa.Table:
        """Get staged raw data."""
        layout.check_staged_raw(path)
        if (part := layout.raw_part_at(path)) is not None:
            return raw_part(path, part, lambda file: part_of(self._read(file)), last)
        return raw_in(path, self._read(path))

    def _read(self, path: str) -> pa.Buffer:
        try:
            return self._place.fetch(path).data
        except ObjectMissing as error:
            raise raw_gone(path) from error

    def write_result(self, key: str, table: pa.Table) -> str:
        """Put a result under a new name."""
        path = layout.new_result_path(key)
        with self._place.encoded(table, result_bytes, write_result) as data:
            self._place.send(path, data)
        return path

    def read_result(self, path: str, *, digest: str | None = None) -> StagedResult:
        """Get a staged result with its page checksums."""
        layout.check_staged_result(path)
        try:
            data = self._place.fetch(path).data
        except ObjectMissing as error:
            raise result_gone("there is no such object") from error
        table, found = result_in(data, digest)
        return StagedResult(table, data, found)

    def exists(self, path: str) -> bool:
        """Return whether the store shows something staged there."""
        layout.check_staged(path)
        try:
            self._client.head(self._place.key(layout.staged_file_of(path)))
        except ObjectMissing:
            return False
        return True

    def discard(self, path: str) -> None:
        """Delete a staged file, and its marks, if that is possible now."""
        layout.check_staged(path)
        if layout.raw_part_at(path) is not None:
            return
        with suppress(StorageUnavailable):
            self._client.delete(self._place.key(path))
            if path.endswith(".arrow"):
                for one in self._marked(path):
                    self._delete(one.marks)

    def list_staged(self) -> Iterator[Listing]:
        """List ``staging``, marks counted with what they mark.

        Then what is left of probes, and uploads that nobody finished.
        """
        yield list_prefix(self._place, f"{layout.STAGED_RESULTS}/", layout.STAGED_NAME)
        for page in _paged(self._marked(f"{layout.STAGED_RAW}/")):
            listing = Listing()
            for one in page:
                if layout.STAGED_RAW_PATH.fullmatch(one.path) is None:
                    listing.foreign += 1  # another store's, perhaps, whose prefix lies below
                elif one.file is not None:
                    listing.files.append(FoundFile(one.path, one.file.size_bytes, one.used_ns))
                else:
                    listing.temporary += [FoundFile(self._place.path(m.key), 0, m.modified_ns) for m in one.marks]
            yield listing
        probes = list_prefix(self._place, f"{layout.PROBES}/", _PROBE).files
        yield Listing(temporary=[*probes, *list_uploads(self._place, "staging/", _STAGED_PATH)])

    def drop_unless_reserved(self, file: FoundFile) -> bool:
        """Say that a file goes, and delete it unless it was marked since it was listed."""
        if (upload := unfinished_of(file)) is not None:
            return self._client.abort_upload(self._place.key(upload.path), upload.upload_id)
        if not file.path.endswith(".arrow"):
            found = self.exists(file.path) if file.path.startswith("staging/results/") else True
            self._client.delete(self._place.key(file.path))
            return found
        mine = self._place.key(f"{file.path}{_GOING}{layout.new_token()}")
        self._client.put(mine, b"")
        marked = [one for one in self._marked(file.path) if one.path == file.path]
        there = any(one.file is not None for one in marked)
        if there and max(one.used_ns for one in marked) > file.modified_ns:
            self._client.delete(mine)
            return False
        if there:
            self._client.delete(self._place.key(file.path))
        for one in marked:
            self._delete(one.marks)
        return there

    def _marked(self, prefix: str) -> Iterator[_Staged]:
        """Give what is staged below a prefix, with its marks; they follow it in order of their keys."""
        current: _Staged | None = None
        for page in self._client.list(self._place.key(prefix)):
            for found in page:
                path = self._place.path(found.key)
                mark = _MARK.fullmatch(path)
                of = mark[1] if mark else path
                if current is None or current.path != of:
                    if current is not None:
                        yield current
                    current = _Staged(of)
                if mark is None:
                    current.file = found
                else:
                    current.marks.append(found)
        if current is not None:
            yield current

    def _delete(self, marks: list[Listed]) -> None:
        for mark in marks:
            self._client.delete(mark.key)


@dataclass(slots=True)
class _Staged:
    """A staged file, None where only its marks are left, and its marks."""

    path: str
    file: Listed | None = None
    marks: list[Listed] = field(default_factory=list)

    @property
    def stays(self) -> bool:
        """Whether it is there, and nobody is about to delete it."""
        return self.file is not None and not any(_GOING in mark.key for mark in self.marks)

    @property
    def used_ns(self) -> int:
        """When it was put there, or reserved last."""
        uses = [mark.modified_ns for mark in self.marks if _USED in mark.key]
        return max([*uses, self.file.modified_ns if self.file is not None else 0])


def _raw_folder(digest: str) -> str:
    return f"{layout.STAGED_RAW}/{layout.shard_of(digest)}/"


def _write_arrow(table: pa.Table, path: Path) -> None:
    write_arrow(table, path, batch_rows=1 << 20)


def _paged(staged: Iterator[_Staged], size: int = 1000) -> Iterator[list[_Staged]]:
    page: list[_Staged] = []
    for one in staged:
        page.append(one)
        if len(page) == size:
            yield page
            page = []
    if page:
        yield page
