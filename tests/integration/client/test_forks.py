"""A store opened in a parent works in its forked children, each on connections of its own."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import numpy as np
import pandas as pd
import pytest

from fstore.runtime import heartbeat
from tests import sample_features
from tests.pooler import without_pooler

RAW = pd.DataFrame({"price": [1.0, 2.0, 3.0]})

# Forking a process with threads is what these tests are about.
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")


def in_children(act: Callable[[], Any], n: int, *, seconds: float = 20) -> list[str]:
    """Fork ``n`` children that run ``act``, and return what each returned as text; a child that hangs fails the test."""
    pipes = []
    for _ in range(n):
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                said = str(act())
            except BaseException as error:
                said = f"{type(error).__name__}: {error}"
            os.write(writing, said.encode()[:4000])
            os._exit(0)
        os.close(writing)
        pipes.append((pid, reading))
    answers = []
    killer = threading.Timer(seconds, lambda: [os.kill(pid, 9) for pid, _ in pipes])
    killer.start()
    for pid, reading in pipes:
        with os.fdopen(reading) as said:
            answers.append(said.read())
        os.waitpid(pid, 0)
    killer.cancel()
    assert all(answers), f"{answers.count('')} children hung"
    return answers


def backend(house):
    return house.store.resources.database.query("SELECT pg_backend_pid()")[0][0]


LARGE = pd.DataFrame(np.random.default_rng(0).normal(size=(100_000, 3)), columns=["price", "size", "bid"])


@pytest.mark.parametrize("tier", [False, True])
def test_children_read_and_write_what_is_large(staffed, tmp_path, tier):
    """What takes several threads to hash does so without the threads of the parent, which had used them before."""
    local = {"local_cache": str(tmp_path / "local")} if tier else {"local_cache": None}
    with staffed.open(**local) as store:
        wanted = store.get_or_compute("LARGE", LARGE, {}, sample_features.scaled, timeout=30)
        found = store.resources.manifest.find_live(store.peek("LARGE", LARGE, {}, sample_features.scaled).key)
        assert found.file_size_bytes > 1 << 20

        def use():
            store.resources.entries.publish("ab" * 32, store.resources.entries.read(found))
            return store.get_or_compute("LARGE", LARGE, {}, sample_features.scaled, timeout=15).equals(wanted)

        assert in_children(use, 4, seconds=30) == ["True"] * 4


@without_pooler()  # whose backends serve many connections
def test_children_have_connections_of_their_own(staffed):
    """No two processes share a backend, and the parent's goes on."""
    before = {backend(staffed) for _ in range(50)}  # the pool gives its connections in turn

    children = set(map(int, in_children(lambda: backend(staffed), 8)))

    assert len(children) == 8
    assert before.isdisjoint(children)
    assert backend(staffed) in before


def test_children_hit_and_compute(staffed):
    """Everything a request needs works in a child: Postgres, Redis, hints, sending and the files."""
    staffed.store.get_or_compute("FORK", RAW, {}, sample_features.scaled, timeout=30)

    def ask():
        hit = staffed.store.get_or_compute("FORK", RAW, {}, sample_features.scaled, timeout=20)
        computed = staffed.store.get_or_compute(
            "FORK", RAW, {"factor": os.getpid()}, sample_features.scaled, timeout=20
        )
        return hit.equals(RAW * 2) and computed.equals(RAW * os.getpid())

    assert in_children(ask, 6, seconds=40) == ["True"] * 6
    assert staffed.store.get_or_compute("FORK", RAW, {}, sample_features.scaled, timeout=20).equals(RAW * 2)


def test_a_lock_held_by_another_thread_at_the_fork_stops_no_child(staffed):
    """Whatever any thread of the parent was doing at that moment, its children do not wait for it."""
    resources = staffed.store.resources
    staffed.store.get_or_compute("FORK", RAW, {"case": "locks"}, sample_features.scaled, timeout=30)

    def ask():
        return staffed.store.get_or_compute(
            "FORK", RAW, {"factor": os.getpid() / 2}, sample_features.scaled, timeout=15
        ).equals(RAW * os.getpid() / 2)

    with ExitStack() as held:
        for lock in (resources.recorder._guard, resources.notifier._guard, heartbeat._starter._changed):
            held.enter_context(lock)
        children = in_children(ask, 2, seconds=30)

    assert children == ["True"] * 2


@without_pooler()  # whose backends serve many connections
def test_children_of_children_work_too(staffed):
    """A pool inside a pool is no special case."""
    assert in_children(lambda: len(set(in_children(lambda: backend(staffed), 2))), 2) == ["2", "2"]


def test_closing_in_a_child_leaves_the_parent_alone(staffed):
    """A child that ends the orderly way takes nothing from its parent."""
    house = staffed.open()
    house.get_or_compute("FORK", RAW, {"case": "close"}, sample_features.scaled, timeout=30)

    in_children(lambda: house.close() or "closed", 2)

    assert house.get_or_compute("FORK", RAW, {"case": "close"}, sample_features.scaled, timeout=20).equals(RAW * 2)
    assert house.get_or_compute("FORK", RAW, {"factor": 5.5}, sample_features.scaled, timeout=20).equals(RAW * 5.5)
    house.close()
