"""What a person wants to see of a store at a glance, gathered as plain values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any

from fstore.model import EntryState
from fstore.postgres.queries import statements
from fstore.reporting.counters import tally_or_written
from fstore.resources import Resources
from fstore.runtime.timings import Histogram, histogram, is_timing

MOST_ROWS = 12
HOUR = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Span:
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
class Degraded:
    """Hours in a row in which requests were served in one degraded mode."""

    mode: str
    start: datetime
    end: datetime
    requests: int


@dataclass(frozen=True, slots=True)
class Slow:
    """How long computations of one feature took."""

    feature: str
    count: int
    median_s: float
    p95_s: float
    total_s: float


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
class Report:
    """The store over some days and now."""

    made: datetime
    since: datetime
    root: str
    store_id: str
    span: timedelta
    spans: tuple[Span, ...]
    entries: Mapping[str, tuple[int, int]]
    by_feature: tuple[tuple[str, int, int], ...]
    by_symbol: tuple[tuple[str, int, int], ...]
    slowest: tuple[Slow, ...]
    runs: tuple[UpkeepRun, ...]
    jobs: tuple[tuple[str, int, float], ...]
    degraded: tuple[Degraded, ...]
    counters: Mapping[str, int]
    hit_times: Histogram
    miss_times: Histogram

    @property
    def total(self) -> Span:
        """Everything of the period in one span."""
        fields = ("hits", "misses", "coalesced", "computed", "failed")
        return Span(self.since, **{name: sum(getattr(span, name) for span in self.spans) for name in fields})

    def as_dict(self) -> dict[str, Any]:
        """Return the report as JSON."""
        made = asdict(self)
        made["span_hours"] = made.pop("span") / HOUR
        made["total"] = {**asdict(self.total), "hit_ratio": self.total.hit_ratio}
        for name in ("hit_times", "miss_times"):
            found: Histogram = getattr(self, name)
            made[name] = {"count": found.count, "sum_s": found.sum_s, **quantiles(found)}
        return made


def gather(resources: Resources, *, days: float = 14) -> Report:
    """Read everything a report shows; hours for a period of three days, else days."""
    sql = statements("report")
    made: datetime = resources.database.query(sql["now"])[0][0]
    since = made - timedelta(days=days)
    span = HOUR if days <= 3 else timedelta(days=1)
    activity = resources.database.query(sql["activity"], {"since": since})
    counters = tally_or_written(resources)
    states = resources.manifest.count_by_state()
    return Report(
        made=made,
        since=since,
        root=str(resources.settings.path),
        store_id=resources.manifest.store_identity()[0],
        span=span,
        spans=time_line(activity, since, made, span),
        entries={str(state): states.get(state, (0, 0)) for state in EntryState},
        by_feature=_largest(resources.manifest.totals_by("feature"), states.get(EntryState.LIVE, (0, 0))),
        by_symbol=_largest(resources.manifest.totals_by("symbol"), states.get(EntryState.LIVE, (0, 0))),
        slowest=tuple(
            Slow(*row)
            for row in resources.database.query(sql["slowest_features"], {"since": since, "limit": MOST_ROWS})
        ),
        runs=tuple(_run(*row) for row in resources.database.query(sql["runs"], {"since": since})),
        jobs=tuple(resources.database.query(sql["jobs_now"])),
        degraded=degraded_periods(activity),
        counters={name: n for name, n in counters.items() if not is_timing(name)},
        hit_times=histogram("hit_seconds", counters),
        miss_times=histogram("miss_seconds", counters),
    )


def time_line(activity: Iterable[Sequence[Any]], since: datetime, until: datetime, span: timedelta) -> tuple[Span, ...]:
    """Sum activity (hour, name, value) into spans without gaps: an hour in which nothing happened is a fact too."""
    start = since.replace(minute=0, second=0, microsecond=0)
    if span > HOUR:
        start = start.replace(hour=0)
    fields = {"cache_hits": "hits", "cache_misses": "misses"} | {n: n for n in ("coalesced", "computed", "failed")}
    sums: list[dict[str, int]] = [{} for _ in range(int((until - start) / span) + 1)]
    for hour, name, value in activity:
        if name in fields and start <= hour <= until:
            bucket = sums[int((hour - start) / span)]
            bucket[fields[name]] = bucket.get(fields[name], 0) + int(value)
    return tuple(Span(start + n * span, **found) for n, found in enumerate(sums))


def degraded_periods(activity: Iterable[Sequence[Any]]) -> tuple[Degraded, ...]:
    """Join hours in a row with the same degraded mode, the latest first."""
    marked = sorted(
        (name.removeprefix("degraded:"), hour, int(value))
        for hour, name, value in activity
        if name.startswith("degraded:")
    )
    found: list[Degraded] = []
    for mode, hours in groupby(marked, key=lambda mark: mark[0]):
        for _, hour, value in hours:
            last = found[-1] if found and found[-1].mode == mode else None
            if last is not None and last.end == hour:
                found[-1] = Degraded(mode, last.start, hour + HOUR, last.requests + value)
            else:
                found.append(Degraded(mode, hour, hour + HOUR, value))
    return tuple(sorted(found, key=lambda period: period.start, reverse=True))


def quantiles(found: Histogram) -> dict[str, float | None]:
    """Return p50 and p99 as the upper bound of the bucket they lie in; None when nothing was timed or it lies in the last."""
    return {name: _bound(found, share) for name, share in (("p50_s", 0.5), ("p99_s", 0.99))}


def _bound(found: Histogram, share: float) -> float | None:
    if not found.count:
        return None
    bound = next(bound for bound, n in found.buckets if n >= share * found.count)
    return bound if bound != float("inf") else None


def _largest(totals: Mapping[str, tuple[int, int]], live: tuple[int, int]) -> tuple[tuple[str, int, int], ...]:
    """Keep the largest and put the others together; ``totals`` may lack the smallest, ``live`` lacks nothing."""
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
