"""The main job, end to end: a stack of its own, trainers that share one cache, and an account of what really happened."""

from __future__ import annotations

import pickle
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import pandas as pd

from fstore import asking, bootstrap, features, settings
from fstore import stack as embedded
from fstore.cli import demo_data, demo_plan, demo_race
from fstore.cli.demo_data import DataSet
from fstore.cli.demo_plan import Case, Step
from fstore.errors import ConfigurationError
from fstore.model import JobState, ParquetSource
from fstore.resources import Resources
from fstore.settings import Settings
from fstore.stack.environment import daemon_environment
from fstore.store import FeatureStore

SEED = 20261121
REQUEST_TIMEOUT_S = 240.0
SETTLE_WITHIN_S = 10.0
INHERITED = ("pg_bindir", "redis_server", "worker_start_method", "log_level")

Say = Callable[[str], None]
Watch = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Wish:
    """What the user asked for; without ``root`` the demo makes a folder of its own."""

    trainers: int
    requests: int
    files: tuple[Path, ...] = ()
    root: Path | None = None
    keep: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """``report`` has the fields that the documentation names; ``troubles`` say what was wrong, if anything."""

    root: Path
    report: Mapping[str, Any]
    troubles: tuple[str, ...]


def run(wish: Wish, *, say: Say, watch: Watch) -> Outcome:
    """Do the main job and return its account; whatever was started is stopped, whatever was written removed, unless kept.

    ``say`` is told what happens, ``watch`` how many requests are answered.
    """
    began = time.monotonic()
    with ExitStack() as cleanup:
        cleanup.enter_context(_orderly_ends())
        root = cleanup.enter_context(_place(wish))
        folder = root / "demo"
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not wish.keep:
            cleanup.callback(shutil.rmtree, folder, ignore_errors=True)
        environment = _environment(root, wish.files)
        ready = cleanup.enter_context(_stack(root, environment, keep=wish.keep, say=say))
        race = cleanup.enter_context(demo_race.trainers(wish.trainers, environment, folder / "trainers.log"))

        datasets = demo_data.given(wish.files) if wish.files else demo_data.synthetic(folder / "raw", seed=SEED)
        frames = [data.frame() for data in datasets]
        cases = demo_plan.make_cases(datasets, frames, demo_plan.number_of_cases(wish.trainers * wish.requests))
        _write_direct_results(folder / "expected", datasets, frames, cases)
        schedule = demo_plan.make_schedule(cases, datasets, trainers=wish.trainers, requests=wish.requests, seed=SEED)
        jobs = [_job(folder / "expected", datasets, cases, steps) for steps in schedule]

        state = ready()
        chosen = settings.load(
            {"path": root, "postgres_url": state.postgres_url, "redis_url": state.redis_url}, environ={}
        )
        with FeatureStore.over(bootstrap.open_resources(chosen, role="demo")) as store:
            _refuse_unless_empty(store.resources)
            say(f"{wish.trainers} trainers ask for features, {wish.requests} times each")
            tally = race.run(jobs, lambda t: watch(len(t.hits_ms) + len(t.misses_ms) + len(t.troubles), t.requests))
            say("collecting garbage and reading every cached byte")
            counted = _settled_counters(store)
            keys = _keys_asked_for(store.resources, datasets, frames, cases, schedule)
            rows = sum(n for n, _ in store.resources.manifest.count_by_state().values())
            gc, integrity = store.run_garbage_collection(), store.validate_cache_integrity()
        report = {
            "trainers": wish.trainers,
            "requests": tally.requests,
            "succeeded": tally.succeeded,
            "failed": tally.failed,
            "wrong_results": tally.wrong,
            "unique_keys": len(keys),
            "computed": counted["computed"],
            "hits": counted["cache_hits"],
            "coalesced": counted["coalesced"],
            "hit_ms": percentiles(tally.hits_ms),
            "miss_ms": percentiles(tally.misses_ms),
            "manifest_rows": rows,
            "gc": {name: gc.get(name) for name in ("dry_run", "summary", "faults", "skipped")},
            "integrity": {name: integrity[name] for name in ("integrity_ok", "issues", "checked", "bytes_read")},
            "flower_url": state.flower_url,
        }
        if not wish.keep:
            say("stopping everything")
    report["seconds"] = round(time.monotonic() - began, 2)
    return Outcome(root, report, (*tally.troubles, *wrong_with(report)))


def wrong_with(report: Mapping[str, Any]) -> list[str]:
    """Return what contradicts the promise of one compute a key and right frames for everybody."""
    requests, unique = report["requests"], report["unique_keys"]
    claims = (
        (report["succeeded"] == requests, f"{report['succeeded']} of {requests} requests succeeded"),
        (report["wrong_results"] == 0, f"{report['wrong_results']} frames were not what the function returns"),
        (report["computed"] == unique, f"{report['computed']} computations for {unique} keys"),
        (report["manifest_rows"] == unique, f"{report['manifest_rows']} manifest rows for {unique} keys"),
        (not report["gc"]["faults"], f"garbage collection met faults: {report['gc']['faults']}"),
        (report["integrity"]["integrity_ok"], f"integrity issues: {report['integrity']['issues']}"),
        (report["integrity"]["checked"] == report["manifest_rows"], "integrity was not checked for every entry"),
    )
    return [text for holds, text in claims if not holds]


def percentiles(milliseconds: Sequence[float]) -> dict[str, float | None]:
    """Return the median and the 99th percentile, by nearest rank; None when there are no values."""
    ordered = sorted(milliseconds)

    def rank(share: float) -> float | None:
        return round(ordered[max(0, -(-len(ordered) * share // 100).__int__() - 1)], 3) if ordered else None

    return {"p50": rank(50), "p99": rank(99)}


@contextmanager
def _orderly_ends() -> Iterator[None]:
    """Let SIGTERM and SIGHUP end the demo as Ctrl-C does: with everything stopped and removed."""

    def interrupt(_: int, __: FrameType | None) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _place(wish: Wish) -> Iterator[Path]:
    """Give the folder to work in; one of the user's is never removed."""
    if wish.root is not None:
        yield wish.root.expanduser().resolve()
        return
    root = Path(tempfile.mkdtemp(prefix="fstore-demo-")).resolve()
    root.chmod(0o711)  # the account that root's servers run as has to pass
    try:
        yield root
    finally:
        if not wish.keep:
            shutil.rmtree(root, ignore_errors=True)


def _environment(root: Path, files: Sequence[Path]) -> dict[str, str]:
    """Build the environment of all processes: the user's, but with the demo's own settings, so that no other store is touched."""
    mine = settings.load({"path": root})
    inherited = {name: getattr(mine, name) for name in INHERITED if mine.origins[name] != "default"}
    roots = tuple(dict.fromkeys(str(file.expanduser().resolve().parent) for file in files))
    chosen: Settings = settings.load({"path": root, "data_roots": roots or None, **inherited}, environ={})
    return daemon_environment(chosen, cwd=Path.cwd())


@contextmanager
def _stack(
    root: Path, environment: Mapping[str, str], *, keep: bool, say: Say
) -> Iterator[Callable[[], embedded.StackState]]:
    """Start a stack as ``fstore up --detach`` does, and give the function that waits until it is ready."""
    if embedded.read_state(root) is not None:
        raise ConfigurationError(
            [f"a stack runs on {root} already and the demo starts its own; give another --root, or 'fstore down' first"]
        )
    say(f"starting Postgres, Redis, workers, Beat and Flower in {root}")
    starting = subprocess.Popen(  # noqa: S603 this very interpreter
        [sys.executable, "-P", "-m", "fstore.cli", "up", "--detach", "--root", str(root)],
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )

    def ready() -> embedded.StackState:
        _, words = starting.communicate()
        state = embedded.read_state(root)
        if starting.returncode != 0 or state is None:
            raise ConfigurationError([f"the stack did not start:\n{words.strip()}"])
        return state

    finished = False
    try:
        yield ready
        finished = True
    finally:
        if not (finished and keep):
            _stop(root, starting)


def _stop(root: Path, starting: subprocess.Popen[str]) -> None:
    """Stop the stack, even one that is still starting; a second Ctrl-C must not leave half of it behind."""
    here = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGINT, signal.SIG_IGN) if here else None
    try:
        if starting.poll() is None:
            starting.send_signal(signal.SIGINT)
            try:
                starting.wait(20)
            except subprocess.TimeoutExpired:
                starting.kill()
                starting.wait()
        embedded.down(root)
    finally:
        if starting.stderr is not None:
            starting.stderr.close()
        if here:
            signal.signal(signal.SIGINT, before)


def _write_direct_results(
    folder: Path, datasets: Sequence[DataSet], frames: Sequence[pd.DataFrame], cases: Sequence[Case]
) -> None:
    """Call every feature directly, without any store, and keep what it returns for the trainers to compare with."""
    folder.mkdir(mode=0o700, exist_ok=True)
    for number, case in enumerate(cases):
        result = features.resolve(case.feature).func(frames[case.data], case.config)
        (folder / f"{number}.pickle").write_bytes(pickle.dumps(result))


def _job(folder: Path, datasets: Sequence[DataSet], cases: Sequence[Case], steps: Sequence[Step]) -> dict[str, Any]:
    return {
        "datasets": [{"symbol": data.symbol, "path": str(data.path)} for data in datasets],
        "cases": [{"data": case.data, "feature": case.feature, "config": dict(case.config)} for case in cases],
        "steps": [{"case": step.case, "form": step.form, "gate": step.gate} for step in steps],
        "expected": str(folder),
        "timeout": REQUEST_TIMEOUT_S,
    }


def _refuse_unless_empty(resources: Resources) -> None:
    held = sum(n for n, _ in resources.manifest.count_by_state().values())
    if held:
        raise ConfigurationError(
            [
                f"{resources.settings.path} holds a store with {held} entries and the demo counts from zero; give it another --root, or none"
            ]
        )


def _settled_counters(store: FeatureStore) -> dict[str, int]:
    """Read the store's counters once nothing moves them any more: no job left, and twice the same numbers."""
    ends_at = time.monotonic() + SETTLE_WITHIN_S
    before: dict[str, int] = {}
    while True:
        jobs = store.resources.jobs.count_by_state()
        counted = store.get_cache_stats()
        idle = not (jobs.get(JobState.QUEUED) or jobs.get(JobState.RUNNING))
        if (idle and counted == before) or time.monotonic() > ends_at:
            return counted
        before = counted
        time.sleep(0.3)


def _keys_asked_for(
    resources: Resources,
    datasets: Sequence[DataSet],
    frames: Sequence[pd.DataFrame],
    cases: Sequence[Case],
    schedule: Sequence[Sequence[Step]],
) -> set[str]:
    """Return the keys of all requests, derived from the raw data anew."""
    keys = set()
    for number, form in sorted({(step.case, step.form) for steps in schedule for step in steps}):
        case = cases[number]
        data = datasets[case.data]
        raw = frames[case.data] if form == "frame" else ParquetSource(data.path)
        keys.add(asking.ask(resources, data.symbol, raw, case.config, case.feature).key)
    return keys
