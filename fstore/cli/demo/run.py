"""The main job, end to end, and an account of what really happened.

A stack of its own, and trainers that share one cache.
"""

from __future__ import annotations

import pickle
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from fstore.bootstrap import open_resources
from fstore.cli.demo.data import DataSet, given_data, synthetic_data
from fstore.cli.demo.object_store import demo_object_store
from fstore.cli.demo.peer import remembered
from fstore.cli.demo.plan import Case, Step, make_cases, make_schedule, number_of_cases
from fstore.cli.demo.race import trainers
from fstore.cli.demo.sandbox import DemoOptions, Say, demo_root, orderly_ends, own_environment, own_folder, own_stack
from fstore.client import prepare
from fstore.errors import ConfigurationError
from fstore.features import resolve_feature
from fstore.model import JobState, ParquetSource
from fstore.resources import Resources
from fstore.settings import Settings, gather_settings
from fstore.stack import StackState
from fstore.store import FeatureStore

SEED = 20261121
REQUEST_TIMEOUT_S = 240.0
SETTLE_WITHIN_S = 10.0
TURN_WITHIN_S = 60.0

OnAnswer = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class DemoOutcome:
    """The account of a demo, and its faults.

    ``report`` has the fields that the documentation names; ``troubles`` say what was wrong, if anything.
    """

    root: Path
    report: Mapping[str, Any]
    troubles: tuple[str, ...]


def run_demo(options: DemoOptions, *, say: Say, on_answer: OnAnswer) -> DemoOutcome:
    """Do the main job and return its account.

    Whatever was started is stopped, whatever was written removed, unless kept. ``say`` is told what happens,
    ``on_answer`` how many requests are answered.
    """
    began = time.monotonic()
    with ExitStack() as cleanup:
        cleanup.enter_context(orderly_ends())
        root = cleanup.enter_context(demo_root(options))
        folder = cleanup.enter_context(own_folder(root, keep=options.keep))
        bucket = cleanup.enter_context(demo_object_store(folder)) if options.object_store else None
        environment = own_environment(root, options.files, own_files=folder, bucket=bucket)
        ready = cleanup.enter_context(own_stack(root, environment, keep=options.keep, say=say))
        race = cleanup.enter_context(trainers(options.trainers, environment, folder / "trainers.log"))

        datasets = given_data(options.files) if options.files else synthetic_data(folder / "raw", seed=SEED)
        frames = [data.frame() for data in datasets]
        cases = make_cases(datasets, frames, number_of_cases(options.trainers * options.requests))
        _write_direct_results(folder / "expected", datasets, frames, cases)
        schedule = make_schedule(cases, datasets, trainers=options.trainers, requests=options.requests, seed=SEED)
        peer = _filled(folder, datasets, frames, cases, schedule)
        jobs = [_job(folder / "expected", datasets, cases, steps, peer) for steps in schedule]

        state = ready()
        with FeatureStore.over(open_resources(settings_of(root, bucket, state), role="demo")) as store:
            refuse_unless_empty(store.resources)
            say(f"{options.trainers} trainers ask for features, {options.requests} times each")
            results = race.run(jobs, lambda t: on_answer(t.answered, t.requests))
            say("collecting garbage and reading every cached byte")
            counted = settled_counters(store)
            keys = _keys_asked_for(store.resources, datasets, frames, cases, schedule)
            rows = sum(n for n, _ in store.resources.manifest.count_by_state().values())
            gc, integrity = _in_turn(store.run_garbage_collection), _in_turn(store.validate_cache_integrity)
        report = {
            "trainers": options.trainers,
            "requests": results.requests,
            "succeeded": results.succeeded,
            "failed": results.failed,
            "wrong_results": results.wrong,
            "unique_keys": len(keys),
            "computed": counted["computed"],
            "hits": counted["cache_hits"],
            "coalesced": counted["coalesced"],
            "hit_ms": percentiles(results.hits_ms),
            "miss_ms": percentiles(results.misses_ms),
            "joblib_hit_ms": percentiles(results.peers_ms) if results.peers_ms else None,
            "manifest_rows": rows,
            "gc": {name: gc.get(name) for name in ("dry_run", "summary", "faults", "skipped")},
            "integrity": {name: integrity.get(name) for name in ("integrity_ok", "issues", "checked", "bytes_read")},
            "flower_url": state.flower_url,
        }
        if not options.keep:
            say("stopping everything")
    report["seconds"] = round(time.monotonic() - began, 2)
    return DemoOutcome(root, report, (*results.troubles, *wrong_with(report)))


def settings_of(root: Path, bucket: Mapping[str, str] | None, state: StackState) -> Settings:
    """Gather the settings by which the demo itself uses the store on its stack."""
    return gather_settings(
        {"path": root, **(bucket or {}), "postgres_url": state.postgres_url, "redis_url": state.redis_url},
        environ={},
        stack={"signing_key": state.settings.get("FEATURE_STORE_SIGNING_KEY")},
    )


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


def _write_direct_results(
    folder: Path, datasets: Sequence[DataSet], frames: Sequence[pd.DataFrame], cases: Sequence[Case]
) -> None:
    """Call every feature directly, without any store.

    What it returns is kept for the trainers to compare with.
    """
    folder.mkdir(mode=0o700, exist_ok=True)
    for number, case in enumerate(cases):
        result = resolve_feature(case.feature).func(frames[case.data], case.config)
        (folder / f"{number}.pickle").write_bytes(pickle.dumps(result))


def _filled(
    folder: Path,
    datasets: Sequence[DataSet],
    frames: Sequence[pd.DataFrame],
    cases: Sequence[Case],
    schedule: Sequence[Sequence[Step]],
) -> str | None:
    """Put every result that is asked for into a cache of joblib's, and return its folder.

    None without joblib.
    """
    cached = remembered(folder / "joblib")
    if cached is None:
        return None
    for number, form in sorted({(step.case, step.form) for steps in schedule for step in steps}):
        case = cases[number]
        raw = frames[case.data] if form == "frame" else str(datasets[case.data].path)
        cached(raw, case.feature, dict(case.config), str(folder / "expected" / f"{number}.pickle"))
    return str(folder / "joblib")


def _job(
    folder: Path, datasets: Sequence[DataSet], cases: Sequence[Case], steps: Sequence[Step], peer: str | None
) -> dict[str, Any]:
    return {
        "datasets": [{"symbol": data.symbol, "path": str(data.path)} for data in datasets],
        "cases": [{"data": case.data, "feature": case.feature, "config": dict(case.config)} for case in cases],
        "steps": [{"case": step.case, "form": step.form, "gate": step.gate} for step in steps],
        "expected": str(folder),
        "peer": peer,
        "timeout": REQUEST_TIMEOUT_S,
    }


def refuse_unless_empty(resources: Resources) -> None:
    """Raise ``ConfigurationError`` for a folder that holds entries: what is counted would be others'."""
    held = sum(n for n, _ in resources.manifest.count_by_state().values())
    if held:
        raise ConfigurationError(
            [
                f"{resources.settings.path} holds a store with {held} entries and the demo counts from zero; give it another --root, or none"
            ]
        )


def settled_counters(store: FeatureStore) -> dict[str, int]:
    """Read the store's counters once nothing moves them any more.

    That is when no job is left, and twice the same numbers were read.
    """
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


def _in_turn(upkeep: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Do one run of upkeep; if Beat happens to have its own at this very moment, after that."""
    ends_at = time.monotonic() + TURN_WITHIN_S
    while True:
        report = upkeep()
        if not report.get("skipped") or time.monotonic() > ends_at:
            return report
        time.sleep(0.2)


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
        keys.add(prepare(resources, data.symbol, raw, case.config, case.feature).key)
    return keys
