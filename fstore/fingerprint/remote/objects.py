"""What lies at an address: one Parquet file or those below a prefix.

Each is pinned to the version that was seen first. Whatever is read later is read of that version (by its id where
the bucket keeps versions, else by its ETag), or not at all: a change is ``SourceChanged``, never a mixture.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO, NamedTuple, cast

from blake3 import blake3

from fstore.errors import InvalidRequest, SourceChanged
from fstore.fingerprint.files.listing import misnamed, refuse_set_aside
from fstore.fingerprint.parquet_limits import ParquetLimits, judge_tail
from fstore.fingerprint.seal import find_footer
from fstore.fingerprint.stamps import ObjectStamp
from fstore.model import ObjectUrl
from fstore.s3 import Buckets, ObjectChanged, ObjectFacts, ObjectMissing, S3Client, Span

TAIL_BYTES = 64 * 1024
"""What the first request for an object brings: the footer of most files, the seal before it, and what is told of the object."""
MOST_OBJECTS = 100_000


class Pinned(NamedTuple):
    """An object as it was seen."""

    key: str
    facts: ObjectFacts
    tail: bytes = b""


class RemoteFiles:
    """The files of one source, looked for once. ``version`` asks for one version of a single object."""

    def __init__(self, url: ObjectUrl, buckets: Buckets, limits: ParquetLimits, *, version: str | None = None) -> None:
        self.url, self.buckets, self.limits, self.version = url, buckets, limits, version
        self._found: list[Pinned] | None = None

    @property
    def client(self) -> S3Client:
        """The bucket's client."""
        return self.buckets.client(self.url.bucket)

    def files(self) -> list[Pinned]:
        """Return the source's files in the order of their names below the prefix.

        Asks the store the first time.
        """
        if self._found is None:
            with told_of(str(self.url)):
                single = self._single()
            self._found = [single] if single is not None else self._below()
        return self._found

    @property
    def is_single(self) -> bool:
        """Whether the address is that of an object."""
        return [one.key for one in self.files()] == [self.url.key]

    @property
    def pinned_version(self) -> str | None:
        """The id of the version that was seen, where the bucket keeps versions and the source is one object."""
        return self.files()[0].facts.version_id if self.is_single else None

    @property
    def size_bytes(self) -> int:
        """Return the size of all files."""
        return sum(one.facts.size_bytes for one in self.files())

    def stamp(self) -> ObjectStamp:
        """Return what stays the same while nobody writes to the source.

        Raises what a file that is none raises.
        """
        files = self.files()
        if self.is_single:
            seen = files[0]
            with self.open(seen) as file:
                judge_tail(file, str(self.url), self.limits)
                digest = blake3(find_footer(file, most=seen.facts.size_bytes)[1]).hexdigest()
            return self._stamp(seen.facts.size_bytes, seen.facts.etag, seen.facts.version_id or "", digest)
        combined = blake3()
        for one in files:
            combined.update(repr((one.key, one.facts.size_bytes, one.facts.etag)).encode())
        return self._stamp(self.size_bytes, "", "", combined.hexdigest())

    def stamps(self) -> list[ObjectStamp]:
        """Return the stamp of each file; of those below a prefix the listing told all that is part of it."""
        if self.is_single:
            return [self.stamp()]
        bucket, store = self.url.bucket, self.client.location
        return [
            ObjectStamp(f"s3://{bucket}/{one.key}", store, one.facts.size_bytes, one.facts.etag, "", "")
            for one in self.files()
        ]

    def with_tail(self, seen: Pinned) -> Pinned:
        """Return an object with its last bytes, asked for unless they are there."""
        if seen.tail or not seen.facts.size_bytes:
            return seen
        with told_of(str(self.url)):
            tail = self.client.get(seen.key, Span(-TAIL_BYTES, TAIL_BYTES), pin=seen.facts).data
        return Pinned(seen.key, seen.facts, tail.to_pybytes())

    @contextmanager
    def open(self, seen: Pinned) -> Iterator[BinaryIO]:
        """Open an object for reading here and there, what its first request brought without a further one."""
        with told_of(str(self.url)), ObjectFile(self.client, seen) as file:
            yield cast(BinaryIO, file)

    def _stamp(self, size: int, etag: str, version: str, digest: str) -> ObjectStamp:
        return ObjectStamp(str(self.url), self.client.location, size, etag, version, digest)

    def _single(self) -> Pinned | None:
        key = self.url.key
        if not key:
            return None
        try:
            tail, facts = self.client.get(key, Span(-TAIL_BYTES, TAIL_BYTES), version=self.version)
        except ObjectMissing:
            if self.version is not None:
                raise
            return None
        _check_pin(str(self.url), facts)
        return Pinned(key, facts, tail.to_pybytes())

    def _below(self) -> list[Pinned]:
        prefix = f"{self.url.key}/" if self.url.key else ""
        found: list[Pinned] = []
        for page in self.client.list(prefix):
            for one in page:
                parts = one.key.removeprefix(prefix).split("/")
                if any(part.startswith(".") for part in parts):
                    continue
                name = "/".join(parts)
                if not name.endswith(".parquet"):
                    if name.lower().endswith((".parquet", ".parq", ".pq")):
                        raise misnamed(name, self.url)
                    continue
                refuse_set_aside(name, self.url)
                if keyed := next((part for part in parts[:-1] if "=" in part), None):
                    raise InvalidRequest(
                        "raw_data",
                        f"{self.url} holds folders such as {keyed!r}, whose names are values of a column that no file "
                        "holds, and only what files hold is read: write that column into the files",
                    )
                facts = ObjectFacts(one.size_bytes, one.etag, None, one.modified_ns)
                _check_pin(str(self.url), facts)
                found.append(Pinned(one.key, facts))
            if len(found) > MOST_OBJECTS:
                raise InvalidRequest("raw_data", f"{self.url} holds more than {MOST_OBJECTS} files; name a part of it")
        if not found:
            raise SourceChanged(str(self.url), "there is no such object, and no *.parquet below it; check the address")
        return sorted(found, key=lambda one: one.key)


class ObjectFile(io.RawIOBase):
    """One version of an object as a file: its end is there already, other parts are asked for."""

    def __init__(self, client: S3Client, seen: Pinned) -> None:
        super().__init__()
        self._client, self._seen, self._at = client, seen, 0
        self._tail_from = seen.facts.size_bytes - len(seen.tail)

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def tell(self) -> int:
        """Return where the next byte is read."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go somewhere."""
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._seen.facts.size_bytes}[whence]
        return self._at

    def read(self, size: int | None = -1) -> bytes:
        """Read all of what was asked for, of the version that was seen."""
        left = self._seen.facts.size_bytes - self._at
        size = max(0, left if size is None or size < 0 else min(size, left))
        if size == 0:
            return b""
        if self._at >= self._tail_from:
            found = self._seen.tail[self._at - self._tail_from :][:size]
        else:
            found = self._client.get(self._seen.key, Span(self._at, size), pin=self._seen.facts).data.to_pybytes()
        self._at += len(found)
        return found

    def readinto(self, buffer: Any) -> int:
        """Read into a buffer."""
        found = self.read(len(buffer))
        buffer[: len(found)] = found
        return len(found)


@contextmanager
def told_of(url: str) -> Iterator[None]:
    """Tell whoever reads a source that it is not, or no longer, what was seen.

    A store that is away stays just that.
    """
    try:
        yield
    except ObjectMissing as error:
        raise SourceChanged(url, f"{error.key} is gone; ask again with the present data") from error
    except ObjectChanged as error:
        raise SourceChanged(url, f"{error.key}: {error.reason}; ask again when its writer is done") from error


def _check_pin(url: str, facts: ObjectFacts) -> None:
    if not facts.version_id and (not facts.etag or facts.etag.startswith("W/")):
        raise InvalidRequest(
            "raw_data",
            f"the store of {url} gives objects neither a strong ETag nor a version, so that nobody can tell when one changes",
        )
