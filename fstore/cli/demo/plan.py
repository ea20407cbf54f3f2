"""Who asks for what, and when: the demo's workload, decided by a seed alone."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import pandas as pd

from fstore.cli.demo.data import DataSet
from fstore.errors import InvalidRequest
from fstore.features import resolve_feature
from fstore.intraday import log_returns, order_flow_imbalance, realised_volatility, vwap_bands

Form = Literal["frame", "file"]

LEAST_KEYS, MOST_KEYS = 20, 60
REQUESTS_PER_KEY = 5
CROWD = 5  # trainers that ask for one key at the same moment
SAMPLE_ROWS = 2_000

START_GATE, STAMPEDE_GATE = "start", "stampede"

Variant = Callable[[int], dict[str, Any]]

# Each makes another config for every number, so that any number of keys can be had from one file.
VARIANTS: tuple[tuple[Callable[..., pd.DataFrame], tuple[Variant, ...]], ...] = (
    (vwap_bands, (
        lambda n: {"window": 20 * (n + 1)},
        lambda n: {"window": 30 * (n + 1), "bands": [1, 2], "weights": "equal"},
        lambda n: {"window": f"{10 * (n + 1)}min", "bands": [1, 2.5]},
    )),
    (realised_volatility, (
        lambda n: {"window": 30 * (n + 1)},
        lambda n: {"window": f"{15 * (n + 1)}min", "estimator": "bipower"},
        lambda n: {"window": 60 * (n + 1), "periods_per_year": 98_280},
    )),
    (order_flow_imbalance, (
        lambda n: {"window": 50 * (n + 1)},
        lambda n: {"window": f"{5 * (n + 1)}min"},
    )),
    (log_returns, (
        lambda n: {"horizons": [1, 5, 20 + 10 * n]},
        lambda n: {"horizons": ["1min", f"{5 * (n + 1)}min"], "forward": [10]},
    )),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Case:
    """One feature of one data set under one config."""

    data: int
    feature: str
    config: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Step:
    """One request of one trainer; at a ``gate`` it waits until all others that come there have arrived."""

    case: int
    form: Form
    gate: str | None = None


def number_of_cases(requests: int) -> int:
    """Return how many different results a number of requests asks for.

    Most of them are asked for several times.
    """
    return (
        min(requests, max(min(LEAST_KEYS, requests // 2), min(requests // REQUESTS_PER_KEY, MOST_KEYS)), MOST_KEYS) or 1
    )


def make_cases(datasets: Sequence[DataSet], frames: Sequence[pd.DataFrame], wanted: int) -> tuple[Case, ...]:
    """Choose ``wanted`` cases, taking turns between data sets and features that fit their columns.

    Raises ``InvalidRequest`` for data that no built-in feature can read.
    """
    turns = []
    for number, (data, frame) in enumerate(zip(datasets, frames, strict=True)):
        fitting = [
            (resolve_feature(compute).name, variant)
            for compute, variants in VARIANTS
            for variant in variants
            if _fits(compute, variant, frame)
        ]
        if not fitting:
            raise InvalidRequest(
                "--data",
                f"no built-in feature fits {data.path}; it has the columns {', '.join(map(str, frame.columns))}",
            )
        turns.append(_endless(number, _mixed(fitting)))
    chosen = itertools.islice((next(turn) for turn in itertools.cycle(turns)), wanted)
    return tuple(chosen)


def make_schedule(
    cases: Sequence[Case], datasets: Sequence[DataSet], *, trainers: int, requests: int, seed: int
) -> tuple[tuple[Step, ...], ...]:
    """Give every trainer its steps.

    All start at one gate, in crowds of five that ask for one key each. Half-way
    all meet again and ask for one key that nobody has asked for. Between that,
    every other case has its first request at a random place, and the rest are
    requests for what may or may not be there by then.
    """
    rng = random.Random(seed)  # noqa: S311 a workload, not a secret
    crowds = min(max(1, trainers // CROWD), len(cases))
    asked: list[list[int | None]] = [[None] * requests for _ in range(trainers)]
    for trainer, steps in enumerate(asked):
        steps[0] = trainer % crowds
    half = requests // 2 if requests > 2 and crowds < len(cases) else None
    meeting = crowds if half is not None else None
    if half is not None:
        for steps in asked:
            steps[half] = meeting
    free = [(t, s) for t in range(trainers) for s in range(requests) if asked[t][s] is None]
    rng.shuffle(free)
    repeatable = [case for case in range(len(cases)) if case != meeting]
    unasked = iter(range(crowds + (meeting is not None), len(cases)))
    for trainer, step in free:
        asked[trainer][step] = next(unasked, rng.choice(repeatable))
    gates = {0: START_GATE, **({half: STAMPEDE_GATE} if half is not None else {})}
    return tuple(
        tuple(
            Step(case, _form(datasets[cases[case].data], rng), gates.get(at))
            for at, case in enumerate(steps)
            if case is not None
        )
        for steps in asked
    )


def _form(data: DataSet, rng: random.Random) -> Form:
    return rng.choice(("frame", "file")) if data.fits_memory else "file"


def _fits(compute: Callable[..., pd.DataFrame], variant: Variant, frame: pd.DataFrame) -> bool:
    try:
        compute(frame.head(SAMPLE_ROWS), variant(0))
    except ValueError:
        return False
    return True


def _mixed(fitting: Sequence[tuple[str, Variant]]) -> list[tuple[str, Variant]]:
    """Take turns between features, so that the first few cases already show all of them."""
    by_feature: dict[str, list[tuple[str, Variant]]] = {}
    for name, variant in fitting:
        by_feature.setdefault(name, []).append((name, variant))
    rounds = itertools.zip_longest(*by_feature.values())
    return [pair for turn in rounds for pair in turn if pair is not None]


def _endless(data: int, fitting: Sequence[tuple[str, Variant]]) -> Iterator[Case]:
    for n in itertools.count():
        for name, variant in fitting:
            yield Case(data, name, variant(n))
