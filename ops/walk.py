"""Which packages one request crosses, and how often it comes back to each: measured on real servers, by a profile hook.

A room is a package of ``fstore``, or a module that stands directly in it; the worker's
task, through which its walk begins, stands outside. Noted is each
call of one of the project's own functions on the main thread; a stay is a run of calls
into one room, a move the step from one stay to the next. What every process carries is
left out (see AMBIENT), as are threads: what they do is not waited for.

    python ops/walk.py [--check] [--json] [--trace hit]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import groupby, pairwise
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pandas as pd

import fstore
from fstore import bootstrap
from fstore.model import Request
from fstore.stack import temporary_servers

HOME = Path(fstore.__file__).parent
# What every process carries; records says how those of model stand in rows, lazy loads a name of a face.
AMBIENT = frozenset({"runtime", "errors", "model", "records", "settings", "lazy"})
# The same, by the names of the modules before they had packages.
AMBIENT_BEFORE = frozenset(
    {"configuration", "deadline", "tracing", "recorder", "timings", "heartbeat", "logs", "forks", "hashing"}
)
AMONG_OTHERS = frozenset({("storage", "hashing")})
LIMITS = {"miss, trainer": 13, "miss, worker": 10, "collection": 5}  # rooms
MOST_STAYS_OF_A_HIT = 2  # in any room
FEATURES = """
import fstore

@fstore.feature(version="1")
def doubled(raw, config):
    return raw * 2
"""


class Walk:
    """The calls of one act, in order, as (room, module, function)."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str, str]] = []
        self._places: dict[str, tuple[str, str] | None] = {}

    @contextmanager
    def noted(self) -> Iterator[None]:
        """Note calls on this thread while the block runs."""
        sys.setprofile(self._hear)
        try:
            yield
        finally:
            sys.setprofile(None)

    @property
    def stays(self) -> list[str]:
        """The rooms in the order they were entered."""
        return [room for room, _ in groupby(room for room, _, _ in self.calls)]

    def figures(self) -> dict[str, Any]:
        """Return how many rooms were crossed, with how many moves, and how often each was entered."""
        stays = self.stays
        entered = Counter(stays)  # in the order of first entry
        return {"rooms": len(entered), "moves": max(0, len(stays) - 1), "entered": dict(entered)}

    def _hear(self, frame: FrameType, event: str, _: object) -> None:
        if event != "call":
            return
        code = frame.f_code
        if code.co_filename not in self._places:
            self._places[code.co_filename] = place_of(Path(code.co_filename))
        place = self._places[code.co_filename]
        if place is not None:
            self.calls.append((*place, code.co_name))


def place_of(file: Path) -> tuple[str, str] | None:
    """Return room and module of a file; None if it is not the project's, or ambient."""
    if not file.is_relative_to(HOME):
        return None
    parts = file.relative_to(HOME).with_suffix("").parts
    room = parts[0]
    if room in AMBIENT | AMBIENT_BEFORE or (room, parts[-1]) in AMONG_OTHERS:
        return None
    return room, parts[-1]


def measure() -> dict[str, Walk]:
    """Walk a hit, the misses of a trainer and a worker, a batch and a collection, on servers of their own."""
    walks: dict[str, Walk] = {}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="fstore-walk-")))
        servers = stack.enter_context(temporary_servers())
        (folder / "walked.py").write_text(FEATURES)
        sys.path.insert(0, str(folder))
        os.environ |= {
            "FEATURE_STORE_PATH": str(folder / "store"),
            "FEATURE_STORE_POSTGRES_URL": servers.postgres_url,
            "FEATURE_STORE_REDIS_URL": servers.redis_url,
            "FEATURE_STORE_FEATURE_MODULES": "walked",
            "FEATURE_STORE_LOCAL_CACHE": str(folder / "tier"),
            "PYTHONPATH": os.pathsep.join([str(folder), str(HOME.parent)]),
        }
        bootstrap.prepare(bootstrap.load_settings())
        store = stack.enter_context(fstore.connect())
        import walked  # noqa: PLC0415 it was just written

        from workers import process, tasks  # noqa: PLC0415 they load the settings

        stack.callback(lambda: process.resources().close())
        feature, raw = walked.doubled, pd.DataFrame(np.random.default_rng(1).random((2000, 2)), columns=["a", "b"])

        def walk(name: str, act: Callable[[], object], *, before: Callable[[], object] = lambda: None) -> None:
            for round_ in range(2):  # the first loads what is loaded once
                before()
                walks[name] = Walk()
                with walks[name].noted():
                    act()
                if name in ("hit", "collection") and round_ == 0:
                    act()

        def message(n: int) -> Any:
            ticket = store.submit("WALK", raw, {"worker": n}, feature)
            job = store.resources.jobs.find(ticket.key)
            return None if job is None else job.request

        waiting = [message(n) for n in range(2)]
        walk("miss, worker", lambda: tasks.get_or_compute(waiting.pop()))
        start_worker(folder, stack)
        fresh = iter(range(1000))
        walk("miss, trainer", lambda: store.get_or_compute("WALK", raw, {"n": next(fresh)}, feature))
        walk("hit", lambda: store.get_or_compute("WALK", raw, {"n": 0}, feature))
        walk(
            "batch of 5, trainer",
            lambda: list(
                store.get_or_compute_many([Request("WALK", raw, {"n": next(fresh)}, feature) for _ in range(5)])
            ),
        )
        walk("collection", store.run_garbage_collection)
    return walks


def start_worker(folder: Path, stack: ExitStack) -> None:
    """Start one worker as people do, and wait until it answers."""
    beat = folder / "beat"
    with (folder / "worker.log").open("ab") as log:
        worker = subprocess.Popen(
            [sys.executable, "-m", "celery", "-A", "workers.app", "worker", "-c", "1",
             "-Q", "fstore.compute,fstore.write,fstore.upkeep", "--loglevel", "WARNING"],
            env=os.environ | {"FEATURE_STORE_HEARTBEAT_FILE": str(beat)}, cwd=folder, stdout=log, stderr=log,
        )  # fmt: skip
    stack.callback(worker.wait, 30)
    stack.callback(worker.terminate)
    ends_at = time.monotonic() + 60
    while not beat.exists():
        if worker.poll() is not None or time.monotonic() > ends_at:
            raise SystemExit((folder / "worker.log").read_text()[-2000:])
        time.sleep(0.05)


def faults_of(walks: dict[str, Walk]) -> list[str]:
    """Return what is more than was promised."""
    found = {name: walk.figures() for name, walk in walks.items()}
    faults = [
        f"{name}: {found[name]['rooms']} rooms, promised are at most {most}"
        for name, most in LIMITS.items()
        if found[name]["rooms"] > most
    ]
    often = {room: n for room, n in found["hit"]["entered"].items() if n > MOST_STAYS_OF_A_HIT}
    return faults + [
        f"hit: enters {room} {n} times, promised are at most {MOST_STAYS_OF_A_HIT}" for room, n in often.items()
    ]


def main() -> int:
    """Measure, print, and with ``--check`` hold the figures against what was promised."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="end with 1 if a figure is worse than promised")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    parser.add_argument("--trace", metavar="WALK", help="print each call of one walk")
    options = parser.parse_args()
    walks = measure()
    if options.json:
        print(json.dumps({name: walk.figures() for name, walk in walks.items()}, indent=1))
    else:
        print(f"left out, as every process carries it: {', '.join(sorted(AMBIENT))}")
        for name, walk in walks.items():
            figures = walk.figures()
            print(f"\n{name}: {figures['rooms']} rooms, {figures['moves']} moves")
            print("  " + ", ".join(f"{room} {n}" for room, n in figures["entered"].items()))
    if options.trace:
        for before, (room, module, function) in pairwise([("", "", ""), *walks[options.trace].calls]):
            print(f"{room if room != before[0] else '':>14}  {module}.{function}")
    faults = faults_of(walks) if options.check else []
    print("\n".join(faults), file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
