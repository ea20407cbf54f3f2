"""The demo's workload, data and comparison, without any server."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fstore.cli.demo import data as demo_data
from fstore.cli.demo import plan as demo_plan
from fstore.cli.demo import race as demo_race
from fstore.cli.demo import run as demo_run
from fstore.cli.demo.data import DataSet
from fstore.cli.demo.incremental import bars_of, corrected, day_of, wrong_with_steps
from fstore.cli.demo.plan import Case, Step
from fstore.cli.demo.trainer import difference
from fstore.errors import InvalidRequest
from fstore.features.registry import resolve_feature

SYNTHETIC = (
    DataSet("A", Path("a.parquet")),
    DataSet("B", Path("b.parquet")),
    DataSet("C", Path("c.parquet"), fits_memory=False),
)


def make_cases(n: int) -> tuple[Case, ...]:
    """Make n different cases over three data sets."""
    return tuple(Case(i % 3, "fstore.intraday:log_returns", {"horizons": [i + 1]}) for i in range(n))


def schedule(trainers: int, requests: int) -> tuple[tuple[Case, ...], tuple[tuple[Step, ...], ...]]:
    """Make the schedule of the demo for so many trainers and requests."""
    cases = make_cases(demo_plan.number_of_cases(trainers * requests))
    return cases, demo_plan.make_schedule(cases, SYNTHETIC, trainers=trainers, requests=requests, seed=1)


def test_the_default_workload_is_a_real_mix() -> None:
    """20 trainers with 10 requests ask 200 times for at least 20 different things, most of them several times."""
    cases, steps = schedule(20, 10)
    asked = Counter(step.case for trainer in steps for step in trainer)

    assert sum(asked.values()) == 200
    assert set(asked) == set(range(len(cases)))
    assert len(cases) >= 20
    assert sum(n > 1 for n in asked.values()) > len(cases) // 2
    assert {step.form for trainer in steps for step in trainer} == {"frame", "file"}


def test_crowds_ask_for_one_key_at_the_same_moment() -> None:
    """At the start crowds of five or more share a key; half-way all ask for one that nobody asked for before."""
    _, steps = schedule(20, 10)

    starts = Counter(trainer[0].case for trainer in steps)
    assert min(starts.values()) >= 5
    assert {trainer[0].gate for trainer in steps} == {demo_plan.START_GATE}
    meeting = {(trainer[5].gate, trainer[5].case) for trainer in steps}
    assert len(meeting) == 1
    (gate, case), *_ = meeting
    assert gate == demo_plan.STAMPEDE_GATE
    assert all(step.case != case for trainer in steps for step in trainer[:5])


def test_large_files_are_never_held_in_memory() -> None:
    """Data too large for every trainer to hold are asked for by path only."""
    cases, steps = schedule(20, 10)

    assert {step.form for trainer in steps for step in trainer if cases[step.case].data == 2} == {"file"}


@pytest.mark.parametrize(
    ("trainers", "requests"), [(1, 1), (1, 5), (2, 1), (3, 2), (7, 3), (23, 4), (200, 1), (1, 300)]
)
def test_any_size_of_demo_gets_all_its_requests(trainers: int, requests: int) -> None:
    """However small or lopsided, every trainer has its number of steps, and every case exists."""
    cases, steps = schedule(trainers, requests)

    assert [len(trainer) for trainer in steps] == [requests] * trainers
    assert all(0 <= step.case < len(cases) for trainer in steps for step in trainer)


def test_a_seed_makes_the_same_workload_again() -> None:
    """Two demos of one size do the very same."""
    assert schedule(9, 7) == schedule(9, 7)


def test_synthetic_data_suit_every_feature_and_repeat(tmp_path: Path) -> None:
    """Made-up trades, bars and quotes are the same for the same seed, and together every built-in feature can be asked for."""
    first = demo_data.synthetic_data(tmp_path / "one", seed=7)
    again = demo_data.synthetic_data(tmp_path / "two", seed=7)
    frames = [data.frame() for data in first]
    for one, other in zip(frames, again, strict=True):
        pd.testing.assert_frame_equal(one, other.frame(), check_exact=True)

    cases = demo_plan.make_cases(first, frames, 40)

    assert len({(c.data, c.feature, str(c.config)) for c in cases}) == 40
    assert {c.feature.partition(":")[2] for c in cases} == {
        "vwap_bands", "realised_volatility", "order_flow_imbalance", "log_returns",
    }  # fmt: skip
    assert {c.data for c in cases} == {0, 1, 2}
    for case in cases:
        result = resolve_feature(case.feature).func(frames[case.data].head(3000), case.config)
        assert len(result) == 3000


def test_data_no_feature_can_read_are_refused(tmp_path: Path) -> None:
    """A file without prices is named, with its columns."""
    path = tmp_path / "weather.parquet"
    pd.DataFrame({"rain": [1.0, 2.0]}).to_parquet(path)
    (data,) = demo_data.given_data([path])

    with pytest.raises(InvalidRequest, match="rain"):
        demo_plan.make_cases([data], [data.frame()], 5)


def test_a_file_that_is_no_parquet_is_refused(tmp_path: Path) -> None:
    """Reading a text file as data is an error of the request, not a traceback."""
    path = tmp_path / "text.parquet"
    path.write_text("price,size\n1,2\n")

    with pytest.raises(InvalidRequest, match="as Parquet"):
        demo_data.given_data([path])[0].frame()


def test_symbols_are_named_after_files_and_stay_apart(tmp_path: Path) -> None:
    """Two files of one symbol get two names."""
    paths = [tmp_path / name for name in ("es_monday.parquet", "es_tuesday.parquet", "btc.parquet")]
    for path in paths:
        path.touch()

    assert [data.symbol for data in demo_data.given_data(paths)] == ["ES", "ES_TUESDAY-1", "BTC"]


INDEX = pd.date_range("2026-01-01", periods=3, freq="min", tz="UTC", name="ts")
RIGHT = pd.DataFrame({"a": [1.0, np.nan, 3.0], "b": [1, 2, 3]}, index=INDEX)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (RIGHT.assign(a=[1.0, np.nan, np.nextafter(3.0, 4.0)]), "values of 'a'"),
        (RIGHT.assign(a=[1.0, 2.0, 3.0]), "values of 'a'"),
        (RIGHT.assign(b=RIGHT["b"].astype("int32")), "dtypes"),
        (RIGHT[["b", "a"]], "columns"),
        (RIGHT.rename(columns={"b": "c"}), "columns"),
        (RIGHT.rename_axis("time"), "index"),
        (RIGHT.tz_convert("Europe/Paris"), "index"),
        (RIGHT.iloc[:2], "index"),
        (RIGHT.reset_index(drop=True), "index"),
        (RIGHT["a"], "Series"),
    ],
)
def test_the_comparison_sees_every_difference(wrong: pd.DataFrame, said: str) -> None:
    """One unit in the last place, a dtype, an order, a name, a time zone or a row: all make a frame wrong."""
    found = difference(wrong, RIGHT)

    assert found is not None
    assert said in found


def test_equal_frames_are_equal() -> None:
    """A copy is right, missing values included; the index' freq, which is no content, does not count."""
    copy = RIGHT.copy()
    copy.index = pd.DatetimeIndex(list(RIGHT.index), name="ts").as_unit(RIGHT.index.unit)

    assert difference(copy, RIGHT) is None


def test_percentiles_are_values_that_occurred() -> None:
    """Nearest rank: the 99th percentile of a hundred values is the 99th, of few the largest; of none nothing."""
    assert demo_run.percentiles([float(n) for n in range(1, 101)]) == {"p50": 50.0, "p99": 99.0}
    assert demo_run.percentiles([3.0]) == {"p50": 3.0, "p99": 3.0}
    assert demo_run.percentiles([]) == {"p50": None, "p99": None}


GOOD = {
    "requests": 10, "succeeded": 10, "wrong_results": 0, "unique_keys": 4, "computed": 4, "manifest_rows": 4,
    "gc": {"faults": []}, "integrity": {"integrity_ok": True, "issues": [], "checked": 4},
}  # fmt: skip


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"succeeded": 9}, "9 of 10"),
        ({"wrong_results": 1}, "1 frames"),
        ({"computed": 5}, "5 computations"),
        ({"manifest_rows": 3}, "3 manifest rows"),
        ({"gc": {"faults": ["cannot unlink"]}}, "cannot unlink"),
        ({"integrity": {"integrity_ok": False, "issues": ["bit rot"], "checked": 4}}, "bit rot"),
    ],
)
def test_whatever_breaks_the_promise_is_told(change: dict[str, object], said: str) -> None:
    """Nothing is wrong with a good report, and each broken claim is named."""
    assert demo_run.wrong_with(GOOD) == []
    assert any(said in text for text in demo_run.wrong_with({**GOOD, **change}))


def test_what_nobody_reported_counts_as_failed() -> None:
    """A trainer that died takes its open requests with it: they failed."""
    results = demo_race.RaceResults(requests=4)
    results.add({"how": "hit", "ms": 1.0, "wrong": None})
    results.add({"how": "miss", "ms": 9.0, "wrong": "the index differs"})
    results.add({"error": "ComputeFailed: no price"})

    assert (results.succeeded, results.wrong, results.failed, results.answered) == (1, 1, 2, 3)
    assert results.hits_ms == [1.0]
    assert results.misses_ms == [9.0]
    assert len(results.troubles) == 2


def steps(**changes: int) -> dict[str, object]:
    """An account of two symbols over ten days, as it should be."""
    made = [(20, 0), (2, 18), (2, 9), (0, 0), (22, 0)]
    found = {"symbols": 2, "partitions_computed": 46}
    found |= {name: value for name, value in changes.items() if name in found}
    told = [
        {"computed": changes.get(f"computed{at}", computed), "copied": copied}
        for at, (computed, copied) in enumerate(made)
    ]
    return {**found, "steps": told}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"computed1": 3, "partitions_computed": 47}, "3 days computed for 2 new ones"),
        ({"computed2": 3, "partitions_computed": 47}, "3 days computed for a corrected one"),
        ({"computed3": 1, "partitions_computed": 47}, "nothing had changed"),
        ({"partitions_computed": 45}, "45 days computed, 46 foretold"),
    ],
)
def test_a_new_day_that_computes_more_is_told(change: dict[str, int], said: str) -> None:
    """And nothing is where each new day computed one day."""
    assert wrong_with_steps(steps()) == []
    (fault,) = wrong_with_steps(steps(**change))
    assert said in fault


def test_histories_grow_by_whole_days_and_differ_from_each_other() -> None:
    """A history with one day more begins with the one before."""
    few, more = bars_of(3, 2), pd.concat([bars_of(3, 2), day_of("DEMO-03", 2)])
    pd.testing.assert_frame_equal(more, bars_of(3, 3))
    assert not bars_of(4, 2).equals(few)
    assert (corrected(few) != few).sum().tolist() == [1, 0]
