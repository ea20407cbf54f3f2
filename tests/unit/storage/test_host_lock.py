"""One process of a host at a time holds a lock of a name, and a dead one holds none."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import pyarrow as pa

from fstore.model import Locator
from fstore.storage.host_lock import alone_on_host
from fstore.storage.local_cache import LocalCache
from tests.waiting import awake_s, eventually


def test_of_many_threads_and_processes_one_holds_it_at_a_time(tmp_path: Path) -> None:
    """Also while files come and go with their holders."""
    path, log = tmp_path / "a" / "entry.lock", tmp_path / "log"

    def work() -> None:
        for _ in range(20):
            with alone_on_host(path, patience_s=60) as held:
                assert held
                with log.open("ab", buffering=0) as file:
                    file.write(b"(")
                    file.write(b")")

    children = []
    for _ in range(3):
        if (child := os.fork()) == 0:
            try:
                threads = [threading.Thread(target=work) for _ in range(2)]
                for thread in threads:
                    thread.start()
                for thread in threads:
                    thread.join()
            finally:
                os._exit(0)
        children.append(child)
    for child in children:
        os.waitpid(child, 0)
    assert log.read_bytes() == b"()" * 120
    assert list(path.parent.iterdir()) == []


def test_who_waits_too_long_is_told_and_nothing_is_left(tmp_path: Path) -> None:
    """A holder that is stuck costs the wait, not the answer."""
    path = tmp_path / "entry.lock"
    with alone_on_host(path, patience_s=1) as first:
        began = awake_s()
        with alone_on_host(path, patience_s=0.1) as second:
            assert (first, second) == (True, False)
        assert awake_s() - began < 1
        assert path.exists()
    assert not path.exists()


def test_a_killed_holder_holds_nothing(tmp_path: Path) -> None:
    """Neither does a child that it forked while it held the lock."""
    path, ready = tmp_path / "entry.lock", tmp_path / "ready"
    holder = os.fork()
    if holder == 0:
        with alone_on_host(path, patience_s=1):
            if os.fork() == 0:
                ready.touch()
                time.sleep(30)
                os._exit(0)
            time.sleep(30)
        os._exit(0)
    eventually(ready.exists, seconds=10, what="the holder's child")
    os.kill(holder, signal.SIGKILL)
    os.waitpid(holder, 0)
    with alone_on_host(path, patience_s=5) as held:
        assert held


def test_a_host_downloads_an_entry_once(tmp_path: Path) -> None:
    """Whoever comes while another downloads finds it in the local cache."""
    locator = Locator("ab" * 32, f"entries/ab/{'ab' * 32}.t.parquet", 3, 100, "cd" * 32)
    table = pa.table({"x": [1, 2, 3]})
    downloads = tmp_path / "downloads"

    def read(cache: LocalCache) -> None:
        with cache.one_reader(locator):
            if cache.find(locator) is None:
                with downloads.open("ab", buffering=0) as file:
                    file.write(b"!")
                time.sleep(0.1)
                cache.add(locator, table)

    children = []
    for _ in range(6):
        if (child := os.fork()) == 0:
            try:
                read(LocalCache(tmp_path / "cache", max_bytes=10**8, downloads_once=True))
            finally:
                os._exit(0)
        children.append(child)
    for child in children:
        os.waitpid(child, 0)
    assert downloads.read_bytes() == b"!"
