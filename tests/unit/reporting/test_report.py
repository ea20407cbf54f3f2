"""A report's numbers and its page, without a store."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser

from fstore.reporting.report import (
    HOUR,
    ActivityBucket,
    DegradedPeriod,
    FailingFeature,
    SlowFeature,
    StoreReport,
    UpkeepRun,
    find_degraded_periods,
    quantiles,
    timeline,
)
from fstore.reporting.report_html import render_page
from fstore.runtime.timings import BOUNDS_S, counters_of, histogram

DAY = timedelta(days=1)
NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
HOSTILE = "<img src=x onerror=alert(1)>$\\frac"


def make_report(**fields: object) -> StoreReport:
    """Make a report of two days in which everything happened once."""
    counters = dict(counters_of("hit_seconds", 0.004))
    given = {
        "made": NOON,
        "since": NOON - 2 * DAY,
        "root": "/data/store",
        "store_id": "s",
        "span": DAY,
        "spans": (
            ActivityBucket(NOON - 2 * DAY, hits=3, misses=1, computed=1),
            ActivityBucket(NOON - DAY, hits=9, misses=1, coalesced=1),
        ),
        "entries": {"live": (2, 1500), "condemned": (0, 0), "quarantined": (0, 0)},
        "by_feature": (("m:f", 2, 1500),),
        "by_symbol": ((HOSTILE, 1, 1000), ("MSFT", 1, 500)),
        "slowest": (SlowFeature("m:f", 2, 1.5, 3.0, 4.5),),
        "failing": (FailingFeature("m:g", 3, 1, NOON, "AAPL", "KeyError: 'ask' <img>"),),
        "runs": (
            UpkeepRun("gc", NOON - DAY, 1.0, None, 3, 9000, 1, 0, 0),
            UpkeepRun("sweep", NOON, None, None, 0, 0, 0, 0, 0),
        ),
        "jobs": (("queued", 1, 2.0),),
        "degraded": (DegradedPeriod("redis", NOON - DAY, NOON - DAY + HOUR, 4),),
        "counters": {},
        "hit_times": histogram("hit_seconds", counters),
        "miss_times": histogram("miss_seconds", {}),
    }
    return StoreReport(**{**given, **fields})  # type: ignore[arg-type]


def test_time_line_has_no_gaps() -> None:
    """Hours are summed into days from midnight on, and a day in which nothing happened is there with zeros."""
    since = NOON - 2 * DAY
    activity = [
        (since + HOUR, "cache_hits", 3),
        (since + 2 * HOUR, "cache_hits", 4),
        (NOON - HOUR, "cache_misses", 2),
        (NOON - HOUR, "degraded:redis", 2),
    ]

    days = timeline(activity, since, NOON, DAY)

    assert [(d.start.day, d.hits, d.misses) for d in days] == [(18, 7, 0), (19, 0, 0), (20, 0, 2)]
    assert [d.hit_ratio for d in days] == [1.0, None, 0.0]
    assert len(timeline(activity, since, NOON, HOUR)) == 49


def test_degraded_hours_in_a_row_are_one_period() -> None:
    """Hours of one mode that follow each other are joined; a pause or another mode starts a new period."""
    activity = [(NOON + n * HOUR, "degraded:redis", 1) for n in (0, 1, 3)] + [(NOON + HOUR, "degraded:postgres", 5)]

    assert find_degraded_periods(activity) == (
        DegradedPeriod("redis", NOON + 3 * HOUR, NOON + 4 * HOUR, 1),
        DegradedPeriod("postgres", NOON + HOUR, NOON + 2 * HOUR, 5),
        DegradedPeriod("redis", NOON, NOON + 2 * HOUR, 2),
    )


def test_timings_survive_as_counters() -> None:
    """Durations become counters and a histogram again: counts cumulative, sum exact, quantiles as bounds."""
    counters: dict[str, int] = {}
    for seconds in (0.001, 0.0011, 0.3, 5000.0):
        for name, n in counters_of("hit_seconds", seconds):
            counters[name] = counters.get(name, 0) + n

    found = histogram("hit_seconds", counters)

    assert found.count == 4
    assert abs(found.sum_s - 5000.3021) < 1e-5
    assert dict(found.buckets)[0.001] == 1
    assert dict(found.buckets)[0.0025] == 2
    assert [bound for bound, _ in found.buckets] == list(BOUNDS_S)
    assert quantiles(found) == {"p50_s": 0.0025, "p99_s": None}
    assert quantiles(histogram("miss_seconds", counters)) == {"p50_s": None, "p99_s": None}


def test_page_is_whole_by_itself() -> None:
    """The page runs no script, asks for nothing outside itself, and has a picture for a screen and one for a phone of each chart."""
    text = render_page(make_report())

    tags: list[tuple[str, dict[str, str | None]]] = []

    class Reader(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            tags.append((tag, dict(attrs)))

    Reader().feed(text)
    assert not {"script", "link", "img", "iframe", "image"} & {tag for tag, _ in tags}
    links = {v for _, attrs in tags for name, v in attrs.items() if name in ("src", "href", "xlink:href") and v}
    assert all(link.startswith("#") for link in links)
    assert "@import" not in text
    assert "url(http" not in text
    assert sum(tag == "svg" for tag, _ in tags) == 2 * len(re.findall("<figure>", text)) == 12
    assert "prefers-color-scheme: dark" in text
    assert not re.search(r"#0[1-8]0[1-8]0[1-8]", text)


def test_page_shows_names_as_text() -> None:
    """A symbol that looks like markup or a formula is shown letter by letter."""
    text = render_page(make_report())
    assert "<img" not in text
    assert "&lt;img" in text
    assert "$\\frac" in text


def test_an_empty_store_has_a_page() -> None:
    """A store in which nothing happened yet has a page that says so, without charts."""
    nothing = {
        "spans": (ActivityBucket(NOON),),
        "by_feature": (),
        "by_symbol": (),
        "slowest": (),
        "failing": (),
        "runs": (),
        "jobs": (),
        "degraded": (),
    }
    empty = histogram("hit_seconds", {})

    text = render_page(make_report(**nothing, hit_times=empty))

    assert "<svg" not in text
    assert "is Beat running?" in text
    assert "no computation is dead" in text


def test_page_tells_which_features_fail() -> None:
    """A red number alone helps nobody: the page names the features, how often each failed, and what its last error was."""
    text = render_page(make_report())

    assert "Failures by feature" in text
    assert "m:g" in text
    assert "AAPL: KeyError: &#x27;ask&#x27; &lt;img&gt;" in text
