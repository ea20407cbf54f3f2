"""The disk says no, or the process dies, at every single call of a publish: no row without a whole, durable file."""

from __future__ import annotations

import itertools
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fstore.broker.messages import parse_compute
from fstore.compute.executor import execute
from fstore.errors import FeatureStoreError, StorageFull
from fstore.upkeep.collection.run import run_collection
from tests.faults.harness.invariants import check_invariants
from tests.faults.harness.publish_order import assert_durable_before_row, offered, opened_for_writing
from tests.faults.harness.site import Site
from tests.faults.harness.strace import BROKEN, DONE, KILLED, REFUSED, Traced, traced
from tests.faults.rows import row
from tests.sample_features import scaled
from tests.support.shelf import HOUR, RULES, Shelf, frame
from tests.waiting import eventually

RAW = frame(200)
LARGE = frame(200_000)  # whose result is written in pieces, a small one at once
OPENING, WRITING = ("openat", "mkdir"), ("write", "fsync", "rename", "fchmod")
READING, TALKING = ("read", "pread64"), ("sendto", "recvfrom")
LEAST = {
    "openat": 5, "mkdir": 1, "write": 1, "fsync": 2, "rename": 1, "fchmod": 1, "read": 5, "pread64": 1, "close": 5,
    "sendto": 3, "recvfrom": 3,
}  # fmt: skip
"""How often one publish of a small result makes a call at the least."""
PIECES = 3
"""In how many calls a large result is written at the least."""
LEFT_BY_DEATH = {"openat": 2, "write": 4, "read": 5, "sendto": 0}
"""How many files deaths leave at the least, by the first call of their kind: what is sent is also carried out."""


class Publisher:
    """Publishes one small entry after another, each in a process of its own that meets a fault."""

    def __init__(self, site: Site) -> None:
        self.site, self.folder = site, site.folder
        self.shelf = Shelf(site.store.resources)
        self.raw = self.folder / "ticks.parquet"
        self.case = itertools.count(2)
        self.use(RAW)

    def use(self, frame: pd.DataFrame) -> None:
        """Publish the features of these raw data from now on."""
        self.frame = frame
        frame.to_parquet(self.raw)

    def meet(self, fault: str) -> bool:
        """Publish a new key while ``fault`` is injected, check what is left, ask again; False when the fault had nothing to hit."""
        config = {"factor": next(self.case)}
        before = self.shelf.files()
        with traced(self.site.environment, publish, self.message(config), folder=self.folder, inject=fault) as running:
            ended = running.wait()
            hit = running.was_hit()
            self.check(running, ended, fault, before)
        assert hit or ended == DONE
        self.forgive()
        self.ask(config)
        assert self.shelf.sql("SELECT count(*) FROM jobs") == [(0,)]
        return hit

    def message(self, config: dict[str, int]) -> dict[str, object]:
        """Return the request as plain Celery clients send it."""
        feature = "tests.sample_features:scaled"
        return {"symbol": "DISK", "raw_data": str(self.raw), "config": config, "feature": feature}

    def ask(self, config: dict[str, int]) -> None:
        """Answer the request here; the result is right."""
        request = parse_compute(self.message(config))
        found = execute(self.shelf.resources, request, phase=lambda _: None)
        pd.testing.assert_frame_equal(self.site.store.load(found.as_dict()), scaled(self.frame, config))

    def check(self, running: Traced, ended: int, fault: str, before: set[str]) -> None:
        """A row stands for a whole file that was durable before it; a fault is one of fstore's errors, or is overcome."""
        assert ended in {DONE, REFUSED, KILLED}, f"{fault}: ended with {ended} (untyped error: {ended == BROKEN})"
        calls = running.calls()
        assert_durable_before_row(calls)
        assert offered(calls) or ended != DONE
        rows = self.shelf.sql("SELECT key, path FROM manifest WHERE state = 'live'")
        for key, path in rows:
            found = self.shelf.resources.manifest.find_live(str(key))
            assert found is not None
            assert found.path == path
            self.shelf.resources.entries.read(found)
        if ended == REFUSED:
            left = self.shelf.files() - before
            assert not [path for path in left if ".tmp-" in path], f"{fault} left an unfinished file"

    def forgive(self) -> None:
        """Let the lease of whoever died lapse, and a remembered failure be forgotten."""
        self.shelf.sql("UPDATE jobs SET lease_until = now() - interval '1 second' WHERE state = 'running'")
        self.shelf.sql("DELETE FROM jobs WHERE state = 'failed'")

    def collect(self) -> int:
        """Let a day pass and collect; nothing but what the rows name is left. Returns how many files went."""
        named = {str(path) for (path,) in self.shelf.sql("SELECT path FROM manifest")}
        strays = self.shelf.files() - named
        for path in strays:
            self.shelf.age_file(path, 30 * HOUR)
        self.shelf.sql("UPDATE manifest SET created_ts = created_ts - %(age)s", age=30 * HOUR)
        run_collection(self.shelf.resources, RULES)
        assert self.shelf.files() == named
        return len(strays)


def publish(store, message) -> None:
    """Answer a request as a worker does: look, claim, read, compute, write, read back, insert, announce."""
    execute(store.resources, parse_compute(message), phase=lambda _: None)


@pytest.fixture
def publisher(site):
    return Publisher(site)


def _shown(value: str | tuple[str, ...]) -> str:
    return value if isinstance(value, str) else "-".join(value)


errors = row(
    26,
    fault="ENOSPC or EIO at the n-th call of each kind, n = 1..",
    promise="I1, I2: a typed error or success, never a row without a whole, durable file",
    needs=("tracing",),
    seconds=30,
)
deaths = row(
    27,
    fault="SIGKILL at the n-th call of each kind, n = 1..",
    promise="I1, I2; the next request works, orphans are collected later",
    needs=("tracing",),
    seconds=30,
)


@errors
@pytest.mark.parametrize(
    ("error", "names"),
    [("EIO", names) for names in (OPENING, WRITING, READING, TALKING)] + [("ENOSPC", OPENING), ("ENOSPC", WRITING)],
    ids=_shown,
)
def test_row_26_error_at_every_call(publisher, error, names):
    """EIO and ENOSPC at the n-th call of each kind, n = 1.. until a publish succeeds: a typed error or success, never a wrong row."""
    met = {name: until_it_succeeds(publisher, f"{name}:error={error}") for name in names}

    assert too_few(met) == {}
    publisher.collect()
    check_invariants(publisher.site, next_request=lambda: publisher.ask({"factor": 1}))


@errors
@pytest.mark.parametrize("error", ["EIO", "ENOSPC"])
def test_row_26_error_in_every_piece(publisher, error):
    """The same at every piece of a result that is too large to be written at once."""
    publisher.use(LARGE)

    assert until_it_succeeds(publisher, f"write:error={error}") >= PIECES
    publisher.collect()
    check_invariants(publisher.site, next_request=lambda: publisher.ask({"factor": 1}))


@deaths
@pytest.mark.parametrize("names", [OPENING, WRITING, (*READING, "close"), TALKING], ids=_shown)
def test_row_27_death_at_every_call(publisher, names):
    """SIGKILL at the n-th call of each kind: no torn row, the next request works, and what was left is collected a day later."""
    met = {name: until_it_succeeds(publisher, f"{name}:signal=SIGKILL") for name in names}

    assert too_few(met) == {}
    assert publisher.collect() >= LEFT_BY_DEATH[names[0]]
    check_invariants(publisher.site, next_request=lambda: publisher.ask({"factor": 1}))


@deaths
def test_row_27_death_in_every_piece(publisher):
    """The same at every piece of a result that is too large to be written at once: each leaves a part of a file."""
    publisher.use(LARGE)

    assert until_it_succeeds(publisher, "write:signal=SIGKILL") >= PIECES
    assert publisher.collect() >= PIECES
    check_invariants(publisher.site, next_request=lambda: publisher.ask({"factor": 1}))


def too_few(met: dict[str, int]) -> dict[str, int]:
    """Return the calls that were met less often than one publish makes them: those faults hit next to nothing."""
    assert met.get("rename", 1) == 1
    return {name: times for name, times in met.items() if times < LEAST[name]}


def until_it_succeeds(publisher: Publisher, fault: str) -> int:
    """Inject at the first, second, ... call until there is no such call; return how many there were."""
    return next(n for n in itertools.count() if not publisher.meet(f"{fault}:when={n + 1}"))


@row(
    28,
    fault="fsync fails once",
    promise="nothing of that file is trusted: a new file, and no second fsync of the old one",
    needs=("tracing",),
    seconds=5,
)
def test_row_28_failed_fsync_is_final(publisher):
    """After an fsync that failed nothing of that file is trusted: it goes, and the next attempt writes another one."""
    message = publisher.message({})
    with traced(
        publisher.site.environment, publish_twice, message, folder=publisher.folder, inject="fsync:error=EIO:when=1"
    ) as running:
        assert running.wait() == DONE
        calls = running.calls()

    first, second = opened_for_writing(calls)
    synced = [call.arguments for call in calls if call.name == "fsync"]
    assert first != second
    assert sum(first in arguments for arguments in synced) == 1
    assert any(call.name == "unlink" and first in call.arguments for call in calls)
    assert_durable_before_row(calls)
    ((path,),) = publisher.shelf.sql("SELECT path FROM manifest")
    assert publisher.shelf.files() == {path}
    check_invariants(publisher.site, next_request=lambda: publisher.ask({"factor": 1}))


def publish_twice(store, message) -> None:
    """Fail, forget the failure, and try again in the same process."""
    try:
        publish(store, message)
    except StorageFull as error:
        raise AssertionError("an fsync that fails with EIO is no lack of space") from error
    except FeatureStoreError:
        store.resources.database.query("DELETE FROM jobs RETURNING key")
        publish(store, message)
    else:
        raise AssertionError("a publish whose fsync failed was reported as done")


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[None]:
    """Mount a file system of ``size`` at ``folder``."""
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size},mode=0755", "tmpfs", folder], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


@row(
    25,
    fault="the store's disk is full",
    promise="the result is delivered, nothing of it is left behind, and it is stored once there is room",
    needs=("mount",),
    seconds=12,
)
def test_row_25_full_disk(make_site, tmp_path):
    """On a store of 256 KiB a result too large is delivered but not stored, leaves nothing, and is stored once there is room."""
    raw = pd.DataFrame({"price": np.random.default_rng(1).random(18_000)})
    small = raw.head(100)
    with small_disk(tmp_path / "store", "256k"):
        site = make_site(failure_memory_s="1")
        site.worker()
        strict = site.store_of_its_own(on_unavailable="raise")

        def ask(raw, factor, store=site.store):
            return site.calls.ask(store, "FULL", raw, {"factor": factor}, scaled, timeout=30)

        def is_stored():
            with suppress(StorageFull):  # the failure is remembered for a second
                return ask(raw, 3, strict).equals(raw * 3)
            return False

        ask(small, 2)
        assert ask(raw, 2).equals(raw * 2)
        assert site.store.peek("FULL", raw, {"factor": 2}, scaled) is None
        with pytest.raises(StorageFull):
            ask(raw, 3, strict)
        assert not [*site.root.glob("entries/*/.tmp-*")]
        assert len([file for file in (site.root / "entries").rglob("*") if file.is_file()]) == 1
        assert ask(small, 2).equals(small * 2)

        subprocess.run(["mount", "-o", "remount,size=8m", site.root], check=True)
        eventually(is_stored, seconds=20, what="the room to be used")
        assert ask(raw, 2).equals(raw * 2)
        assert site.store.peek("FULL", raw, {"factor": 2}, scaled) is not None
        check_invariants(site)
