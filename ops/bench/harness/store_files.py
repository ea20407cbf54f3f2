"""The store's files behind its back: what lies there, and how to damage it, in a folder or in a bucket."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

from fstore.model import ObjectUrl
from fstore.s3 import ObjectMissing, buckets_of
from fstore.settings import Settings

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
            return (self._root / path).read_bytes()
        except OSError:
            return None

    def damage(self, path: str, damage: Damage) -> None:
        file = self._root / path
        file.chmod(0o640)
        with file.open("r+b") as handle:  # the very file that readers have open
            changed = damage(handle.read())
            handle.seek(0)
            handle.write(changed)
            handle.truncate()

    def delete(self, path: str) -> None:
        (self._root / path).unlink()


class BucketFiles:
    """Objects below a prefix."""

    def __init__(self, root: ObjectUrl, settings: Settings) -> None:
        self._prefix, self._client = f"{root.key}/", buckets_of(settings).client(root.bucket)

    def paths(self) -> Iterator[str]:
        return (one.key.removeprefix(self._prefix) for page in self._client.list(self._prefix) for one in page)

    def read(self, path: str) -> bytes | None:
        try:
            return bytes(self._client.get(self._prefix + path).data)
        except ObjectMissing:
            return None

    def damage(self, path: str, damage: Damage) -> None:
        if (data := self.read(path)) is None:
            raise FileNotFoundError(path)
        self._client.put(self._prefix + path, damage(data))

    def delete(self, path: str) -> None:
        self._client.delete(self._prefix + path)


def files_of(settings: Settings) -> Files:
    """Return the files of a store, wherever it lies."""
    if isinstance(settings.path, ObjectUrl):
        return BucketFiles(settings.path, settings)
    return FolderFiles(settings.path)
