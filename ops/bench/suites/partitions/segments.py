"""Requests by partitions against the number of segments that there are: 5,000 series x 24 months as rows.

A part of ``suites/scale.py``.

Two stores on the same servers, asked in turn: one empty but for what is asked for, one with
120,000 segments more, registered as rows without files. Timed are a hit of 24 segments,
the search for relatives of a month, publishing a month to which a day was appended, and the search
for superseded segments, which is what a collection adds for them. A plan of a whole
collection walks all entries and their files, and is not judged here: see suites/upkeep.py.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import pandas as pd
from harness.features import daily_means, history
from harness.figures import Figure, Outcome, timed
from harness.stand import Stand, stands
from harness.writing import LIBRARIES

from fstore import FeatureStore
from fstore.stack import temporary_servers

SERIES, PERIODS, NAMES = 5_000, 24, 21
DAYS = 24 * 30  # 24 months, of ten rows each day
CONFIG: dict[str, Any] = {}
NAMED = {
    "hit": "a request's lookups and reads, 24 segments",
    "relatives": "looking for relatives",
    "append": "computing and publishing an appended day",
    "superseded": "looking for superseded segments",
}
CALLS = {"relatives": 10, "superseded": 10}  # of what takes a millisecond, as many as make a sample
FILL = """
INSERT INTO manifest (key, symbol, feature, feature_version, source_digest, config, fingerprint, hash_method, source, path,
    rows, file_size_bytes, content_digest, compute_seconds, library_versions, attempt, state, created_ts, verified_ts)
SELECT k, 'S' || s, 'bench:f', '1', md5(s::text), '{{}}'::json, 'b3p1:' || k, 'full',
    json_build_object('kind', 'staged', 'path', k), 'entries/' || left(k, 2) || '/' || k || '.0.parquet', 390, 20000, k, 0.1,
    '{libraries}'::jsonb, 1, 'live', now(), now()
FROM (SELECT s, p, md5(s || ' ' || p) || md5(s || '.' || p) AS k
    FROM generate_series(1, {series}) AS s, generate_series(1, {periods}) AS p) AS made;
INSERT INTO segments (key, series, period, names, created_ts)
SELECT md5(s || ' ' || p) || md5(s || '.' || p), decode(md5('series ' || s) || md5('series.' || s), 'hex'),
    to_char(date '2022-01-01' + p * interval '1 month', 'YYYY-MM'),
    (SELECT array_agg(decode(md5(s || '/' || p || '/' || n), 'hex')) FROM generate_series(1, {names}) AS n), now()
FROM generate_series(1, {series}) AS s, generate_series(1, {periods}) AS p
"""


def measure(*, quick: bool) -> Outcome:
    """Ask both stores in turn."""
    series = SERIES // 10 if quick else SERIES
    with temporary_servers() as servers, stands(servers, 2) as places:
        places[1].query(FILL.format(series=series, periods=PERIODS, names=NAMES, libraries=json.dumps(LIBRARIES)))
        for place in places:
            place.worker(concurrency=1)
        with ExitStack() as stack:
            asked = [Asked(place, stack.enter_context(place.trainer())) for place in places]
            for place in places:
                place.query("VACUUM ANALYZE")
            spent = in_turn(asked, rounds=5 if quick else 60)
    few, many = ({name: round(statistics.median(each), 3) for name, each in found.items()} for found in spent)
    figures = [
        Figure(f"{text}, at {series * PERIODS:,} segments / at none", paired(name, *spent), None if quick else 1.1)
        for name, text in NAMED.items()
    ]
    return Outcome("segments", figures, {"at none": few, f"at {series * PERIODS:,}": many})


class Asked:
    """One store, and one history that it is asked about."""

    def __init__(self, place: Stand, store: FeatureStore) -> None:
        self._store, self._raw = store, history(days=DAYS, rows=10)
        self._resources, self._days = store.resources, DAYS
        store.get_or_compute("BENCH", self._raw, CONFIG, daily_means)
        found = place.query("SELECT series, period FROM segments JOIN manifest USING (key) WHERE symbol = 'BENCH'")
        self._wanted = [(bytes(series), str(period)) for series, period in found]

    def ways(self) -> dict[str, Callable[[], object]]:
        """Return what is timed, each time anew: a day more is another request."""
        longer = pd.concat([self._raw, history(days=1, rows=10, first=self._days)])
        return {
            "hit": lambda: self._store.get_or_compute("BENCH", self._raw, CONFIG, daily_means),
            "relatives": lambda: self._resources.manifest.find_segments(self._wanted),
            "append": lambda: self._appended(longer),
            "superseded": lambda: self._resources.upkeep.superseded(limit=1_000),
        }

    def _appended(self, longer: pd.DataFrame) -> None:
        self._store.get_or_compute("BENCH", longer, CONFIG, daily_means)
        self._raw, self._days = longer, self._days + 1


def in_turn(asked: list[Asked], *, rounds: int) -> list[dict[str, list[float]]]:
    """Return the milliseconds of each way in each round, of each store; the stores take turns in going first."""
    spent: list[dict[str, list[float]]] = [{} for _ in asked]
    turns = list(zip(asked, spent, strict=True))
    for number in range(-2, rounds):
        ways = [(one.ways(), found) for one, found in turns]
        for name in NAMED:
            for known, found in ways:
                calls = CALLS.get(name, 1)
                milliseconds = sum(timed(known[name]) for _ in range(calls)) / calls * 1000
                found.setdefault(name, []).extend([milliseconds] if number >= 0 else [])
        turns.reverse()
    return spent


def paired(name: str, few: dict[str, list[float]], many: dict[str, list[float]]) -> float:
    """Return the median over the rounds of how much longer the second store takes than the first one beside it.

    Both are asked within milliseconds: a busy moment falls on both, where it would fall on the median of one alone.
    """
    return round(statistics.median(b / a for a, b in zip(few[name], many[name], strict=True)), 4)
