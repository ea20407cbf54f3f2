"""The store's files behind its back: what lies there, and how to damage it, in a folder or in a bucket."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

from fstore.model import ObjectUrl
from fstore.s3 import ObjectMissing, buckets_of
from fstore.settings import Settings
from fstore.storage import file_of, packed_at

Damage = Callable[[bytes], bytes]


class Files(Protocol):
    """All files of a store, by their paths below its root."""

    def paths(self) -> Iterator[str]:
        """Give every file."""
        ...

    def read(self, path: str) -> bytes | None:
        """Return a file's bytes, None when it is not there."""
        ...

    def damage(self, path: str, damage: Damage) -> None:
        """Change a file in place; raises ``OSError`` when it is not there."""
        ...

    def delete(self, path: str) -> None:
        """Delete a file."""
        ...


class FolderFiles:
    """Files of this host."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def paths(self) -> Iterator[str]:
        return (str(path.relative_to(self._root)) for path in self._root.rglob("*") if path.is_file())

    def read(self, path: str) -> bytes | None:
        try:
            data = (self._root / file_of(path)).read_bytes()
        except OSError:
            return None
        return data[_span(path, data)]

    def damage(self, path: str, damage: Damage) -> None:
        file = self._root / file_of(path)
        file.chmod(0o640)
        with file.open("r+b") as handle:  # the very file that readers have open
            changed = with_part(path, handle.read(), damage)
            handle.seek(0)
            handle.write(changed)
            handle.truncate()

    def delete(self, path: str) -> None:
        if packed_at(path) is not None:
            self.damage(path, lambda part: bytes(len(part)))
            return
        (self._root / path).unlink()


class BucketFiles:
    """Objects below a prefix."""

    def __init__(self, root: ObjectUrl, settings: Settings) -> None:
        self._prefix, self._client = f"{root.key}/", buckets_of(settings).client(root.bucket)

    def paths(self) -> Iterator[str]:
        return (one.key.removeprefix(self._prefix) for page in self._client.list(self._prefix) for one in page)

    def read(self, path: str) -> bytes | None:
        try:
            data = bytes(self._client.get(self._prefix + file_of(path)).data)
        except ObjectMissing:
            return None
        return data[_span(path, data)]

    def damage(self, path: str, damage: Damage) -> None:
        file = file_of(path)
        if (data := self.read(file)) is None:
            raise FileNotFoundError(path)
        self._client.put(self._prefix + file, with_part(path, data, damage))

    def delete(self, path: str) -> None:
        if packed_at(path) is not None:
            self.damage(path, lambda part: bytes(len(part)))
            return
        self._client.delete(self._prefix + path)


def _span(path: str, data: bytes) -> slice:
    """Return where an entry lies in its file: one that shares it is listed, with its length, at the file's end."""
    packed = packed_at(path)
    if packed is None:
        return slice(0, len(data))
    listed = json.loads(data[-16 - int.from_bytes(data[-16:-8], "little") : -16])
    (length,) = (size for _, offset, size in listed if offset == packed.offset)
    return slice(packed.offset, packed.offset + length)


def with_part(path: str, data: bytes, damage: Damage) -> bytes:
    """Return the bytes of a file in which one entry is damaged; those that share it stay where they are."""
    span = _span(path, data)
    damaged = damage(data[span])
    if packed_at(path) is not None:
        damaged = damaged.ljust(span.stop - span.start, b"\0")
    return data[: span.start] + damaged + data[span.stop :]


def files_of(settings: Settings) -> Files:
    """Return the files of a store, wherever it lies."""
    if isinstance(settings.path, ObjectUrl):
        return BucketFiles(settings.path, settings)
    return FolderFiles(settings.path)
