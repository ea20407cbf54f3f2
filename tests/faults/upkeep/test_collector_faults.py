"""Garbage collection that dies at every step, or is pointed at the wrong database or folder."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from contextlib import ExitStack

import pytest

from fstore.upkeep.collection.report import GarbageReport
from fstore.upkeep.collection.run import run_collection
from tests.conftest import Servers, build_house
from tests.faults.harness.invariants import check_invariants
from tests.faults.harness.strace import DONE, KILLED, traced
from tests.faults.rows import row
from tests.faults.upkeep.test_collect_killed import empty, fill, outcome
from tests.support.shelf import HOUR, RULES, WEEK, Shelf, key
from tests.waiting import eventually

CHANGES = re.compile(r'"Q[^"]*?(UPDATE|DELETE|INSERT|WITH|VACUUM|BEGIN)')


@row(
    33,
    fault="garbage collection is killed at each statement and each file operation",
    promise="no row loses its file, and the next run comes to the same end",
    needs=("tracing",),
    seconds=60,
)
@pytest.mark.timeout(300)
def test_row_33_collector_killed_at_each_step(site):
    """SIGKILL at any statement that changes something, and at any rename or unlink: one more run ends as an unharmed one."""
    shelf = Shelf(site.store.resources)
    lost = [key("lost0"), key("lost1")]

    def collected(fault: str | None) -> list[str]:
        """Fill the store, collect under a fault and once more without; return where a fault can strike."""
        empty(shelf)
        fill(shelf)
        with traced(
            site.environment, collect, folder=site.folder, calls="sendto,unlink,rename,fsync", inject=fault
        ) as running:
            ended = running.wait()
            steps = places(running.calls())
        assert ended == (KILLED if fault else DONE)
        # A hidden entry may be taken back at any moment: as long as there is a row, there is its file.
        named = shelf.sql("SELECT path FROM manifest WHERE key <> ALL(%(lost)s)", lost=lost)
        assert all((shelf.root / str(path)).exists() for (path,) in named), f"{fault} left a row without a file"
        for unfinished in (path for path in shelf.files() if ".tmp-" in path):
            shelf.age_file(unfinished, 30 * HOUR)  # the probe that tells the file system's time goes a day later
        shelf.sql("UPDATE upkeep_turns SET lease_until = now() - interval '1 ms'")  # the killed run renews it no longer
        eventually(
            lambda: isinstance(run_collection(shelf.resources, RULES), GarbageReport), seconds=10, what="the lock"
        )
        ends.append(outcome(shelf))
        return steps

    ends: list[object] = []
    steps = collected(None)
    for step in steps:
        collected(step)
        assert ends[-1] == ends[0], f"after {step}"

    assert len(steps) >= 20
    site.worker()
    check_invariants(site)


def collect(store) -> None:
    """Run a collection as a worker of the upkeep queue does."""
    run_collection(store.resources, RULES)


def places(calls) -> list[str]:
    """Return the faults that kill a run at each of its calls that change something."""
    seen: dict[str, int] = {}
    found = []
    for call in calls:
        seen[call.name] = seen.get(call.name, 0) + 1
        if call.name != "sendto" or CHANGES.search(call.arguments):
            found.append(f"{call.name}:signal=SIGKILL:when={seen[call.name]}")
    return found


@row(
    34,
    fault="the wrong database, or an empty or unmounted folder",
    promise="garbage collection and sweeps refuse, with a reason and an exit code",
    seconds=30,
)
def test_row_34_wrong_database_or_folder(site):
    """With another store's database, an emptied one, another folder or an empty one nothing is deleted or hidden."""
    shelf = Shelf(site.store.resources)
    for number in range(105):
        shelf.publish(f"entry{number}", age=10 * WEEK, unused=WEEK)
    files, rows = shelf.files(), shelf.sql("SELECT key, path, state FROM manifest ORDER BY key")

    def refuse(*command: str, says: str, **changed: str) -> None:
        done = run(site, *command, **changed)
        assert done.returncode != 0, done.stdout
        assert says in done.stdout + done.stderr
        assert shelf.files() == files
        assert shelf.sql("SELECT key, path, state FROM manifest ORDER BY key") == rows

    with ExitStack() as stack:
        servers = Servers(site.machine.postgres_url, site.machine.redis_url)
        other = build_house(servers, site.folder / "other", stack)
        refuse("gc", says="StoreMismatch", FEATURE_STORE_POSTGRES_URL=other.environment["FEATURE_STORE_POSTGRES_URL"])
        refuse("gc", says="StoreMismatch", FEATURE_STORE_PATH=str(other.root))
        refuse("gc", says="fstore migrate", FEATURE_STORE_POSTGRES_URL=site.machine.postgres_url)
    unmounted = site.folder / "unmounted"
    unmounted.mkdir()
    refuse("gc", says="StoreMismatch", FEATURE_STORE_PATH=str(unmounted))
    refuse("verify", "--repair", says="StoreMismatch", FEATURE_STORE_PATH=str(unmounted))

    (unmounted / "STORE_ID").write_bytes((site.root / "STORE_ID").read_bytes())
    refuse("gc", says="have no file", FEATURE_STORE_PATH=str(unmounted))
    refuse("verify", "--repair", says="have no file", FEATURE_STORE_PATH=str(unmounted))

    shelf.sql("ALTER TABLE manifest RENAME TO kept; CREATE TABLE manifest (LIKE kept INCLUDING ALL)")
    done = run(site, "gc")
    assert done.returncode != 0
    assert "have no row" in done.stdout + done.stderr
    assert shelf.files() == files
    shelf.sql("DROP TABLE manifest; ALTER TABLE kept RENAME TO manifest")
    assert run(site, "gc").returncode == 0
    site.worker()
    check_invariants(site)


def run(site, *command: str, **changed: str) -> subprocess.CompletedProcess[str]:
    """Run ``fstore`` as people run it."""
    environment = site.child_environment(**changed)
    done = subprocess.run(
        [sys.executable, "-m", "fstore.cli", *command, "--json"],
        env=environment, cwd=site.folder, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    if done.stdout:
        json.loads(done.stdout)
    return done
