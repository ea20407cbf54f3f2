"""What the tests of storage backends stand on.

A store of one backend, and how to reach behind its back.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pyarrow as pa
import pytest
from blake3 import blake3

from fstore.errors import EntryCorrupt
from fstore.model import Locator
from fstore.storage import EntryStore, Storage

KEY, OTHER = blake3(b"one").hexdigest(), blake3(b"other").hexdigest()
ROUNDS = 10


def some_table(rows: int = 100, name: str = "x") -> pa.Table:
    """Return numbers and texts."""
    return pa.table({name: pa.array(range(rows), pa.int64()), "side": ["buy", "sell"] * (rows // 2)})


def publish(entries: EntryStore, table: pa.Table, key: str = KEY) -> Locator:
    """Publish a table and return what a row would say of it."""
    stored = entries.publish(key, table)
    return Locator(key, stored.path, table.num_rows, stored.file_size_bytes, stored.content_digest)


def paths_in(entries: EntryStore) -> list[str]:
    """Return every finished file of entries."""
    return [file.path for listing in entries.list_shards() for file in listing.files]


def fault_of(act: Callable[[], object]) -> str:
    """Return how an entry is found wrong."""
    with pytest.raises(EntryCorrupt) as caught:
        act()
    return caught.value.fault.partition(":")[0]


def together(*acts: Callable[[], None]) -> None:
    """Run functions at once and raise what one of them raised."""
    raised: list[BaseException] = []

    def run(act: Callable[[], None]) -> None:
        try:
            act()
        except BaseException as error:  # told below, where pytest sees it
            raised.append(error)

    threads = [threading.Thread(target=run, args=(act,)) for act in acts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if raised:
        raise raised[0]


class Backend:
    """How to make a store of one backend, and how to reach behind its back; the suite's subclass says it."""

    @pytest.fixture
    def storage(self, tmp_path: Path) -> Iterator[Storage]:
        """Give a store that was created with the id ``suite`` and holds nothing."""
        raise NotImplementedError

    def raw_get(self, storage: Storage, path: str) -> bytes | None:
        """Return a file's bytes without the backend's help, None when it is not there."""
        raise NotImplementedError

    def raw_put(self, storage: Storage, path: str, data: bytes) -> None:
        """Put bytes where a file lies, as rot, a stranger or an older version might."""
        raise NotImplementedError

    def unreachable(self, storage: Storage) -> AbstractContextManager[None]:
        """Keep everybody from reaching the store while the block runs."""
        raise NotImplementedError

    def forbidden(self, storage: Storage) -> AbstractContextManager[None]:
        """Have the store refuse this process everything while the block runs."""
        raise NotImplementedError

    def next_moment(self, storage: Storage) -> int:
        """Wait until the store's clock shows another time than now, and return that."""
        began = storage.entries.now_ns()
        step_ns = int(storage.entries.capabilities.clock_step_s * 1e9)
        while (now := storage.entries.now_ns()) <= began + step_ns:
            time.sleep(0.001)
        return now

    def step_ns(self, storage: Storage) -> int:
        return int(storage.entries.capabilities.clock_step_s * 1e9)
