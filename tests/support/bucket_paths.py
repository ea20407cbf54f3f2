"""A bucket seen as a folder: for tests that look and reach behind a store's back, whatever its root is."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import ModuleType, SimpleNamespace
from typing import Any

from fstore.resources import Resources
from fstore.s3.listing import moment_ns
from tests.faults.harness.http_faults import denied
from tests.faults.harness.http_messages import Message
from tests.faults.harness.http_proxy import HttpProxy
from tests.object_servers import Bucket, ObjectServer
from tests.support.shelf import Shelf

PREFIX = "team/fstore"
_LISTED = re.compile(rb"<Key>([^<]*)</Key>(.*?)<LastModified>([^<]*)</LastModified>", re.DOTALL)


@dataclass(frozen=True)
class BucketPath:
    """An object, or a prefix, with the few ways of a ``Path`` that tests use."""

    bucket: Bucket
    key: str = PREFIX

    def __truediv__(self, part: object) -> BucketPath:
        return BucketPath(self.bucket, f"{self.key}/{part}")

    def __str__(self) -> str:
        return self.key

    @property
    def name(self) -> str:
        return self.key.rpartition("/")[2]

    @property
    def parent(self) -> BucketPath:
        return BucketPath(self.bucket, self.key.rpartition("/")[0])

    def relative_to(self, other: BucketPath) -> str:
        return self.key.removeprefix(f"{other.key}/")

    def read_bytes(self) -> bytes:
        found = self.bucket.get(self.key)
        if found is None:
            raise FileNotFoundError(self.key)
        return found

    def write_bytes(self, data: bytes) -> None:
        self.bucket.put(self.key, data)

    def write_text(self, text: str) -> None:
        self.write_bytes(text.encode())

    def exists(self) -> bool:
        return self.bucket.get(self.key) is not None

    is_file = exists

    def stat(self) -> SimpleNamespace:
        return SimpleNamespace(st_size=len(self.read_bytes()), st_mode=0o440)  # objects are never written to

    def unlink(self, *, missing_ok: bool = False) -> None:
        del missing_ok
        self.bucket.delete(self.key)

    def rename(self, target: BucketPath) -> None:
        target.write_bytes(self.read_bytes())
        self.unlink()

    def chmod(self, _: int) -> None:
        """Nothing: objects have no such rights."""

    def mkdir(self, **_: object) -> None:
        """Nothing: there are no folders."""

    def rglob(self, _: str) -> Iterator[BucketPath]:
        return (BucketPath(self.bucket, key) for key in self.bucket.keys(f"{self.key}/"))

    def iterdir(self) -> Iterator[BucketPath]:
        return self.rglob("*")

    def glob(self, _: str) -> Iterator[BucketPath]:
        return self.rglob("*")


@dataclass
class Behind:
    """What lies behind one store: its bucket, and a proxy on the way that makes objects look older."""

    bucket: Bucket
    proxy: HttpProxy
    ages: dict[str, timedelta] = field(default_factory=dict)

    @classmethod
    def over(cls, server: ObjectServer, proxy: HttpProxy) -> Behind:
        """Make a new bucket and let its listings tell the ages that are given."""
        made = cls(server.new_bucket(), proxy)
        proxy.on("GET", "list-type=2", rewrite_answer=made._age)
        return made

    @property
    def settings(self) -> dict[str, str]:
        return self.bucket.settings(PREFIX, self.proxy.endpoint)

    @property
    def root(self) -> BucketPath:
        return BucketPath(self.bucket)

    def _age(self, answer: Message) -> None:
        answer.body = _LISTED.sub(self._older, answer.body)

    def _older(self, found: re.Match[bytes]) -> bytes:
        age = self.ages.get(found[1].decode().replace("%2F", "/"))
        if age is None:
            return found[0]
        moment = moment_ns(found[3].decode()) / 1e9 - age.total_seconds()
        stamp = datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
        return b"<Key>%b</Key>%b<LastModified>%b</LastModified>" % (found[1], found[2], stamp.encode())


class BucketShelf(Shelf):
    """A shelf whose files are objects."""

    def __init__(self, resources: Resources, behind: Behind) -> None:
        super().__init__(resources)
        self.behind = behind
        self.root = behind.root  # type: ignore[assignment]

    def age_file(self, path: str, age: timedelta) -> None:
        """Let listings show an object as older."""
        self.behind.ages[f"{PREFIX}/{path}"] = age

    def make_unreadable(self, path: str) -> None:
        """Have the server refuse an object, and none other."""
        self.behind.proxy.on("GET", path.rpartition("/")[2], answer=denied())


def collected_from(
    module: ModuleType, *, also: tuple[str, ...] = (), without: tuple[str, ...] = ()
) -> dict[str, Callable[..., Any]]:
    """Return the tests of another module, to be collected once more with this folder's fixtures."""
    gone = [name for name in without if not hasattr(module, name)]
    assert gone == [], f"no such tests: {gone}"
    return {
        name: getattr(module, name)
        for name in dir(module)
        if (name.startswith("test_") and name not in without) or name in also
    }
