"""Where in a bucket a store lies, and how bytes get there."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from fstore.errors import StorageUnavailable
from fstore.s3 import Fetched, ObjectChanged, S3Client
from fstore.storage.durable import translated
from fstore.storage.interface import Capabilities

IN_MEMORY_BYTES = 64 << 20
"""Up to here files are put together in memory and sent by one request, above in a file of this host and in parts."""
DELETIONS_AT_ONCE = 16
CLOCK_STEP_S = 1.0  # listings of some servers tell whole seconds


@dataclass(frozen=True, slots=True)
class Place:
    """A prefix of a bucket; ``path`` everywhere is relative to it."""

    client: S3Client
    bucket: str
    prefix: str = ""
    """Empty, or what keys begin with, a slash at its end."""
    scratch: Path | None = None
    """A folder of this host for large files on their way; the system's if None."""
    read_back: bool = False
    """Read again what was written, for servers that do not check that a body is the one that was signed."""

    @property
    def location(self) -> str:
        """The root as people write it."""
        return f"s3://{self.bucket}/{self.prefix}".rstrip("/")

    @property
    def capabilities(self) -> Capabilities:
        """What others have to know of it."""
        return Capabilities(
            location=self.location,
            folder=None,
            clock_step_s=CLOCK_STEP_S,
            deletions_at_once=DELETIONS_AT_ONCE,
            clock_is_remote=True,
        )

    def key(self, path: str) -> str:
        """Return the key of a path."""
        if not path:
            raise ValueError("no path: that would be the store itself")
        return self.prefix + path

    def path(self, key: str) -> str:
        """Return the path of a key that was listed."""
        return key.removeprefix(self.prefix)

    def fetch(
        self,
        path: str,
        size_bytes: int | None = None,
        *,
        fresh: bool = False,
        sink: Callable[[memoryview], object] | None = None,
    ) -> Fetched:
        """Return a whole file, of one version, and show its bytes to ``sink`` as they arrive.

        Raises ``ObjectMissing``.
        """
        try:
            return self.client.fetch(self.key(path), size_bytes, fresh=fresh, sink=sink)
        except ObjectChanged as error:
            raise StorageUnavailable(self.location, f"{path}: {error.reason}") from error

    def send(self, path: str, data: pa.Buffer) -> None:
        """Put a file; it is durable when this returns. Repeated by whoever has no answer, it changes nothing."""
        key = self.key(path)
        if data.size > IN_MEMORY_BYTES:
            self.client.put_large(key, data)
        else:
            self.client.put(key, data)

    @contextmanager
    def encoded(
        self, table: pa.Table, in_memory: Callable[[pa.Table], pa.Buffer], to_file: Callable[[pa.Table, Path], None]
    ) -> Iterator[pa.Buffer]:
        """Give the bytes of a table's file, in memory.

        Or mapped from a file without a name if they may be many.
        """
        if table.nbytes <= IN_MEMORY_BYTES:
            yield in_memory(table)
            return
        folder = self.scratch or Path(tempfile.gettempdir())
        with translated(folder), tempfile.NamedTemporaryFile(dir=self.scratch, prefix=".fstore-") as named:
            to_file(table, Path(named.name))
            # Nobody else may open what was made with these rights, and the name goes with this block.
            with pa.memory_map(named.name) as mapped:
                data = mapped.read_buffer()
        yield data
