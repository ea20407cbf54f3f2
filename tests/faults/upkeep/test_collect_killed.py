"""Garbage collection killed after every single step: the next run comes to the same end."""

from __future__ import annotations

import os
import signal
import traceback
import warnings
from functools import wraps

from fstore.postgres.runs import UpkeepRuns
from fstore.postgres.upkeep_queries import UpkeepQueries
from fstore.postgres.usage import Usage
from fstore.storage.folder.entries import FolderEntries
from fstore.storage.folder.staging import FolderStaging
from fstore.upkeep.collection.report import GarbageReport
from fstore.upkeep.collection.run import run_collection
from tests.support.shelf import HOUR, RULES, WEEK, Shelf, key

STEPS = {
    UpkeepRuns: ("begin_run", "finish_run"),
    UpkeepQueries: ("revive_used", "reap", "condemn_unused", "quarantine_lost", "forget_sources"),
    Usage: ("forget",),
    FolderEntries: ("delete", "drop_unfinished", "now_ns"),
    FolderStaging: ("drop_unless_reserved",),
}


def fill(shelf: Shelf) -> None:
    """Give a run something to do in each of its phases, twice."""
    for i in range(2):
        shelf.publish(f"kept{i}", age=10 * WEEK, unused=2 * HOUR)
        shelf.publish(f"expired{i}", age=10 * WEEK)
        shelf.publish(f"due{i}", age=10 * WEEK)
        shelf.condemn(f"due{i}", 30 * HOUR)
        shelf.publish(f"wanted{i}", age=10 * WEEK)
        shelf.condemn(f"wanted{i}", 30 * HOUR)
        shelf.used(f"wanted{i}", 2 * HOUR)
        shelf.age_file(shelf.write(f"orphan{i}").path, 30 * HOUR)
        (shelf.root / shelf.publish(f"lost{i}", age=WEEK).path).unlink()
        (shelf.root / f".tmp-{i}").write_bytes(b"x")
        shelf.age_file(f".tmp-{i}", 30 * HOUR)


def outcome(shelf: Shelf) -> tuple[object, ...]:
    """Return what a store looks like, without the tokens in names."""
    states = {
        name: shelf.state(name)
        for kind in ("kept", "expired", "due", "wanted", "lost")
        for name in (f"{kind}0", f"{kind}1")
    }
    return states, sorted(path.partition(".")[0] for path in shelf.files())


def collect_and_die(shelf: Shelf, step: int) -> bool:
    """Run a collection in a forked process that is killed right after its n-th step; False when it had fewer."""
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", DeprecationWarning
        )  # forking beside threads is the point: it is what Celery does
        child = os.fork()
    if child == 0:
        try:
            die_after(step)
            run_collection(shelf.resources, RULES)
            os._exit(0)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(1)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


def die_after(step: int) -> None:
    left = [step]
    for kind, names in STEPS.items():
        for name in names:
            act = getattr(kind, name)

            @wraps(act)
            def stepping(*args, act=act, **kwargs):
                result = act(*args, **kwargs)
                left[0] -= 1
                if left[0] == 0:
                    os.kill(os.getpid(), signal.SIGKILL)
                return result

            setattr(kind, name, stepping)


def empty(shelf: Shelf) -> None:
    """Remove all that a step left."""
    shelf.sql("DELETE FROM manifest; DELETE FROM usage; DELETE FROM jobs; DELETE FROM upkeep_runs")
    for path in shelf.files():
        (shelf.root / path).unlink()


def test_a_killed_run_is_finished_by_the_next(house):
    """After SIGKILL at any statement or unlink, no live entry lacks its file, and one more run leaves what an unkilled one does."""
    shelf = Shelf(house.store.resources)
    lost = [key("lost0"), key("lost1")]
    expected = None
    step = killed = 0
    while killed >= step - 1:  # ends with the first step that a run does not have
        empty(shelf)
        fill(shelf)
        if step > 0 and collect_and_die(shelf, step):
            killed += 1
        live = shelf.sql("SELECT path FROM manifest WHERE state = 'live' AND key <> ALL(%(lost)s)", lost=lost)
        assert all((shelf.root / str(path)).exists() for (path,) in live)
        shelf.sql("UPDATE upkeep_turns SET lease_until = now() - interval '1 ms'")  # the killed run renews it no longer
        assert isinstance(run_collection(shelf.resources, RULES), GarbageReport)
        expected = expected or outcome(shelf)
        assert outcome(shelf) == expected, f"after step {step}"
        step += 1

    assert expected[0] == {
        "kept0": "live", "kept1": "live", "expired0": "condemned", "expired1": "condemned", "due0": None, "due1": None,
        "wanted0": "live", "wanted1": "live", "lost0": "quarantined", "lost1": "quarantined",
    }  # fmt: skip
    assert killed >= 14
