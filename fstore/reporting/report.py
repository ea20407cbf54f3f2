"""What a person wants to see of a store at a glance, gathered as plain values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any

from fstore.model import EntryState
from fstore.reporting.stats import read_available_counters
from fstore.resources import Resources
from fstore.runtime.counters import mode_of
from fstore.runtime.timings import Histogram, histogram, is_timing

MOST_ROWS = 12
HOUR = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class ActivityBucket:
    """One bar of the time line: what happened between ``start`` and the next one."""

    start: datetime
    hits: int = 0
    misses: int = 0
    coalesced: int = 0
    computed: int = 0
    failed: int = 0

    @property
    def hit_ratio(self) -> float | None:
        """The share of requests that were hits; None without requests."""
        asked = self.hits + self.misses
        return self.hits / asked if asked else None


@dataclass(frozen=True, slots=True)
class DegradedPeriod:
    """Hours in a row in which requests were served in one degraded mode."""

    mode: str
    start: datetime
    end: datetime
    requests: int


@dataclass(frozen=True, slots=True)
class SlowFeature:
    """How long computations of one feature took."""

    feature: str
    count: int
    median_s: float
    p95_s: float
    total_s: float


@dataclass(frozen=True, slots=True)
class FailingFeature:
    """A feature's failures that are remembered, and the last one's error.

    Failed jobs of a day, dead ones until they start anew.
    """

    feature: str
    failed: int
    dead: int
    last: datetime | None
    symbol: str
    error: str


@dataclass(frozen=True, slots=True)
class UpkeepRun:
    """One collection or sweep; without ``seconds`` it runs or was killed."""

    kind: str
    started: datetime
    seconds: float | None
    error: str | None
    files_deleted: int
    bytes_freed: int
    condemned: int
    checked: int
    quarantined: int


@dataclass(frozen=True, slots=True)
class StoreReport:
    """The store over some days and now."""

    made: datetime
    since: datetime
    root: str
    store_id: str
    span: timedelta
    spans: tuple[ActivityBucket, ...]
    entries: Mapping[str, tuple[int, int]]
    by_feature: tuple[tuple[str, int, int], ...]
    by_symbol: tuple[tuple[str, int, int], ...]
    slowest: tuple[SlowFeature, ...]
    failing: tuple[FailingFeature, ...]
    runs: tuple[UpkeepRun, ...]
    jobs: tuple[tuple[str, int, float], ...]
    degraded: tuple[DegradedPeriod, ...]
    counters: Mapping[str, int]
    hit_times: Histogram
    miss_times: Histogram

    @property
    def total(self) -> ActivityBucket:
        """Everything of the period in one span."""
        fields = ("hits", "misses", "coalesced", "computed", "failed")
        return ActivityBucket(self.since, **{name: sum(getattr(span, name) for span in self.spans) for name in fields})

    def as_dict(self) -> dict[str, Any]:
        """Return the report as JSON."""
        made = asdict(self)
        made["span_hours"] = made.pop("span") / HOUR
        made["total"] = {**asdict(self.total), "hit_ratio": self.total.hit_ratio}
        for name in ("hit_times", "miss_times"):
            found: Histogram = getattr(self, name)
            made[name] = {"count": found.count, "sum_s": found.sum_s, **quantiles(found)}
        return made


def gather_report(resources: Resources, *, days: float = 14) -> StoreReport:
    """Read everything a report shows; hours for a period of three days, else days."""
    made = resources.runs.now()
    since = made - timedelta(days=days)
    span = HOUR if days <= 3 else timedelta(days=1)
    activity = resources.usage.activity(since)
    counters = read_available_counters(resources.usage, resources.usage_buffer)
    states = resources.manifest.count_by_state()
    return StoreReport(
        made=made,
        since=since,
        root=resources.entries.capabilities.location,
        store_id=resources.manifest.store_identity()[0],
        span=span,
        spans=timeline(activity, since, made, span),
        entries={str(state): states.get(state, (0, 0)) for state in EntryState},
        by_feature=_largest(resources.manifest.totals_by("feature"), states.get(EntryState.LIVE, (0, 0))),
        by_symbol=_largest(resources.manifest.totals_by("symbol"), states.get(EntryState.LIVE, (0, 0))),
        slowest=tuple(SlowFeature(*row) for row in resources.figures.slowest_features(since, limit=MOST_ROWS)),
        failing=tuple(FailingFeature(*row) for row in resources.figures.failing_features(limit=MOST_ROWS)),
        runs=tuple(_run(*row) for row in resources.figures.runs_since(since)),
        jobs=tuple((state, n, age) for state, (n, age) in sorted(resources.figures.jobs_by_state().items())),
        degraded=find_degraded_periods(activity),
        counters={name: n for name, n in counters.items() if not is_timing(name)},
        hit_times=histogram("hit_seconds", counters),
        miss_times=histogram("miss_seconds", counters),
    )


def timeline(
    activity: Iterable[Sequence[Any]], since: datetime, until: datetime, span: timedelta
) -> tuple[ActivityBucket, ...]:
    """Sum activity (hour, name, value) into spans without gaps.

    An hour in which nothing happened is a fact too.
    """
    start = since.replace(minute=0, second=0, microsecond=0)
    if span > HOUR:
        start = start.replace(hour=0)
    fields = {"cache_hits": "hits", "cache_misses": "misses"} | {n: n for n in ("coalesced", "computed", "failed")}
    sums: list[dict[str, int]] = [{} for _ in range(int((until - start) / span) + 1)]
    for hour, name, value in activity:
        if name in fields and start <= hour <= until:
            bucket = sums[int((hour - start) / span)]
            bucket[fields[name]] = bucket.get(fields[name], 0) + int(value)
    return tuple(ActivityBucket(start + n * span, **found) for n, found in enumerate(sums))


def find_degraded_periods(activity: Iterable[Sequence[Any]]) -> tuple[DegradedPeriod, ...]:
    """Join hours in a row with the same degraded mode, the latest first."""
    marked = sorted((mode, hour, int(value)) for hour, name, value in activity if (mode := mode_of(name)) is not None)
    found: list[DegradedPeriod] = []
    for mode, hours in groupby(marked, key=lambda mark: mark[0]):
        for _, hour, value in hours:
            last = found[-1] if found and found[-1].mode == mode else None
            if last is not None and last.end == hour:
                found[-1] = DegradedPeriod(mode, last.start, hour + HOUR, last.requests + value)
            else:
                found.append(DegradedPeriod(mode, hour, hour + HOUR, value))
    return tuple(sorted(found, key=lambda period: period.start, reverse=True))


def quantiles(found: Histogram) -> dict[str, float | None]:
    """Return p50 and p99 as the upper bound of the bucket they lie in.

    None when nothing was timed or it lies in the last.
    """
    return {name: _bound(found, share) for name, share in (("p50_s", 0.5), ("p99_s", 0.99))}


def _bound(found: Histogram, share: float) -> float | None:
    if not found.count:
        return None
    bound = next(bound for bound, n in found.buckets if n >= share * found.count)
    return bound if bound != float("inf") else None


def _largest(totals: Mapping[str, tuple[int, int]], live: tuple[int, int]) -> tuple[tuple[str, int, int], ...]:
    """Keep the largest and put the others together.

    ``totals`` may lack the smallest, ``live`` lacks nothing.
    """
    rows = [(name, n, size) for name, (n, size) in totals.items()][:MOST_ROWS]
    entries, size_bytes = live[0] - sum(n for _, n, _ in rows), live[1] - sum(size for *_, size in rows)
    return (*rows, ("all others", entries, max(0, size_bytes))) if entries > 0 else tuple(rows)


def _run(kind: str, started: datetime, finished: datetime | None, report: Mapping[str, Any] | None) -> UpkeepRun:
    about = report or {}
    summary = about.get("summary") or {}
    return UpkeepRun(
        kind=kind,
        started=started,
        seconds=(finished - started).total_seconds() if finished else None,
        error=about.get("message") or about.get("error"),
        files_deleted=int(summary.get("total_files_deleted", 0)),
        bytes_freed=int(summary.get("total_bytes_freed", 0)),
        condemned=int(summary.get("entries_condemned", 0)),
        checked=int(about.get("checked", 0)),
        quarantined=int(about.get("quarantined", 0)),
    )
