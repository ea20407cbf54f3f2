"""The folder keeps every promise of a storage backend."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pytest

from fstore.errors import StorageUnavailable
from fstore.model import Locator
from fstore.storage import result_bytes
from fstore.storage.durable import seal
from fstore.storage.folder.entries import FolderEntries
from fstore.storage.folder.staging import FolderStaging
from fstore.storage.open import Storage
from fstore.testing.storage_suite import StorageSuite


def root_of(storage: Storage) -> Path:
    folder = storage.entries.capabilities.folder
    assert folder is not None
    return folder


class TestFolder(StorageSuite):
    """A folder as a store, and what can be done to it from outside."""

    @pytest.fixture(autouse=True)
    def no_waits(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """What is gone here stays gone."""
        monkeypatch.setattr("fstore.storage.folder.entries._NOT_YET_VISIBLE_WAITS_S", ())

    @pytest.fixture
    def storage(self, tmp_path: Path) -> Iterator[Storage]:
        """Give a store in a new folder."""
        root = tmp_path / "store"
        storage = Storage(FolderEntries(root), FolderStaging(root))
        storage.entries.create("suite")
        yield storage

    def raw_get(self, storage: Storage, path: str) -> bytes | None:
        """Read the file."""
        try:
            return (root_of(storage) / path).read_bytes()
        except FileNotFoundError:
            return None

    def raw_put(self, storage: Storage, path: str, data: bytes) -> None:
        """Put another file in its place."""
        place = root_of(storage) / path
        place.unlink(missing_ok=True)
        place.write_bytes(data)

    @contextmanager
    def unreachable(self, storage: Storage) -> Iterator[None]:
        """Put files where the folders were: whatever is asked of them fails, but nothing is not found."""
        root = root_of(storage)
        for name in ("entries", "staging", "quarantine"):
            (root / name).rename(root / f"away-{name}")
            (root / name).write_bytes(b"")
        yield
        for name in ("entries", "staging", "quarantine"):
            (root / name).unlink()
            (root / f"away-{name}").rename(root / name)

    @contextmanager
    def forbidden(self, storage: Storage) -> Iterator[None]:
        """Refuse every access; rights on the folder would not stop tests that run as root."""

        def refuse(*_: object, **__: object) -> None:
            raise PermissionError(13, "Permission denied")

        with pytest.MonkeyPatch.context() as patch:
            for name in ("open", "stat", "rename", "replace", "unlink", "mkdir"):
                patch.setattr(Path, name, refuse)
            for name in ("open", "scandir", "utime"):
                patch.setattr(os, name, refuse)
            yield


@pytest.mark.parametrize("together", [False, True])
def test_a_file_that_does_not_hold_what_was_written_is_never_published(
    together: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that gives other bytes back: an error, no file that a row could name, and nothing left behind."""
    entries = FolderEntries(tmp_path / "store")
    entries.create("suite")
    data = result_bytes(pa.table({"x": [1, 2, 3]}))

    def rotten(path: Path) -> None:
        seal(path)
        whole = bytearray(path.read_bytes())
        whole[10] ^= 1
        path.chmod(0o640)
        path.write_bytes(whole)

    monkeypatch.setattr("fstore.storage.folder.entries.seal", rotten)
    with pytest.raises(StorageUnavailable, match="does not hold what was just written"):
        if together:
            entries.publish_together([("a1" * 32, data), ("b2" * 32, data)])
        else:
            entries.publish_bytes("a1" * 32, data)

    assert [path for path in (tmp_path / "store" / "entries").rglob("*") if path.is_file()] == []


def test_a_full_disk_can_be_collected_and_is_called_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its time is that of a file without a byte; whoever looks after the folder is told to make room, not of rights."""
    entries = FolderEntries(tmp_path)
    entries.create("full")
    before = entries.now_ns()

    def refuse(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("fstore.storage.folder.listing.os.fsync", refuse)
    assert entries.now_ns() >= before
    (found,) = [one for one in entries.diagnose() if one.severity == "fault"]
    assert "No space left" in found.detail
    assert "make room" in (found.advice or "")


def test_half_a_copy_of_a_wrong_entry_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without room for it in quarantine nothing lies there: half of it would look as if that were what was wrong."""
    entries = FolderEntries(tmp_path / "store")
    entries.create("suite")
    data = result_bytes(pa.table({"x": [1, 2, 3]}))
    one, _ = entries.publish_together([("a1" * 32, data), ("b2" * 32, data)])
    write = Path.write_bytes

    def half(self: Path, whole: memoryview) -> int:
        write(self, bytes(whole)[:10])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", half)

    assert entries.quarantine(Locator("a1" * 32, one.path, 3, one.file_size_bytes, one.content_digest)) is None
    assert list((tmp_path / "store" / "quarantine").iterdir()) == []
