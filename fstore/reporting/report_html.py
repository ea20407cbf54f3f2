"""A report as one HTML file: no script, no network, light and dark, readable on a phone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from html import escape

from rich.filesize import decimal

from fstore.reporting.report import DegradedPeriod, FailingFeature, StoreReport, UpkeepRun, quantiles
from fstore.reporting.report_charts import Chart, draw_charts, seconds_text

_STYLE = """
:root { color-scheme: light dark; --page: #f6f7f9; --card: #ffffff; --ink: #1d2530; --soft: #5b6675; --faint: #dbe0e6;
  --hit: #2563b0; --coalesced: #79b4e8; --computed: #e8a33d; --failed: #c7362f; --bar: #2563b0; --bar2: #b5cfec;
  --good: #1d7a46; --bad: #b3261e; }
@media (prefers-color-scheme: dark) { :root { --page: #14181d; --card: #1d232a; --ink: #e6eaef; --soft: #9aa6b4;
  --faint: #39424d; --hit: #5b9be6; --coalesced: #a9d2f5; --computed: #f0b455; --failed: #f0716a; --bar: #5b9be6;
  --bar2: #31506f; --good: #5cc98b; --bad: #ff8a80; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 62rem; padding: 1rem; background: var(--page); color: var(--ink);
  font: 16px/1.45 system-ui, sans-serif; }
h1 { font-size: 1.5rem; margin: .5rem 0 0; } h2 { font-size: 1.05rem; margin: 0 0 .6rem; }
p.about { color: var(--soft); margin: .2rem 0 1.2rem; overflow-wrap: anywhere; }
section { background: var(--card); border: 1px solid var(--faint); border-radius: .6rem; padding: 1rem; margin: 0 0 1rem; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(9rem, 1fr)); gap: .7rem; margin: 0 0 1rem; }
.tile { background: var(--card); border: 1px solid var(--faint); border-radius: .6rem; padding: .7rem .9rem; }
.tile b { display: block; white-space: nowrap; font-size: 1.4rem; font-weight: 600; font-variant-numeric: tabular-nums; }
.tile span { color: var(--soft); font-size: .85rem; } .bad b, td.bad { color: var(--bad); } .good b { color: var(--good); }
figure { margin: 0; } figure svg { display: block; width: 100%; height: auto; } .narrow { display: none; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; width: 100%; font-size: .9rem; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .35rem .6rem .35rem 0; border-bottom: 1px solid var(--faint); white-space: nowrap; }
th { color: var(--soft); font-weight: 500; } tr:last-child td { border: 0; } td.n, th.n { text-align: right; }
td.text { white-space: normal; overflow-wrap: anywhere; min-width: 9rem; } .none { color: var(--soft); margin: 0; }
@media (max-width: 40rem) { .wide { display: none; } .narrow { display: block; } body { padding: .7rem; } section { padding: .8rem; }
  thead { display: none; } table, tbody { display: block; } tr { display: flex; flex-wrap: wrap; gap: 0 1rem; padding: .45rem 0; border-bottom: 1px solid var(--faint); }
  td, td.n { border: 0; padding: 0; text-align: left; } td.text { flex-basis: 100%; } td.n::before { content: attr(data-name) " "; color: var(--soft); } tr:last-child { border: 0; } }
"""


def render_page(report: StoreReport) -> str:
    """Write the page."""
    body = [
        f"<h1>fstore: {_period(report)}</h1>",
        f'<p class="about">{escape(report.root)} &middot; made {_moment(report.made)} UTC</p>',
        _tiles(report),
        *(_figure(chart) for chart in draw_charts(report)),
        _jobs(report),
        _failing(report.failing),
        _degraded(report.degraded),
        _runs(report.runs),
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>fstore report</title><style>{_STYLE}</style></head>\n<body>\n" + "\n".join(body) + "\n</body></html>\n"
    )


def _tiles(report: StoreReport) -> str:
    total, hits, misses = report.total, quantiles(report.hit_times), quantiles(report.miss_times)
    live, live_bytes = report.entries["live"]
    degraded = sum(period.requests for period in report.degraded)
    corrupt = report.counters.get("corrupt_detected", 0)
    tiles = [
        (_percent(total.hit_ratio), "of requests were hits", "good" if (total.hit_ratio or 0) >= 0.5 else ""),
        (f"{total.hits + total.misses:,}", "requests", ""),
        (f"{total.computed:,}", "computed", ""),
        (f"{total.failed:,}", "failed", "bad" if total.failed else ""),
        (_bound(hits["p50_s"]), f"half of the hits (99 %: {_bound(hits['p99_s'])})", ""),
        (_bound(misses["p50_s"]), f"half of the misses (99 %: {_bound(misses['p99_s'])})", ""),
        (f"{live:,}", f"live entries, {decimal(live_bytes)}", ""),
        (f"{degraded:,}", "degraded requests", "bad" if degraded else ""),
        (f"{corrupt:,}", "files found wrong, ever", "bad" if corrupt else ""),
    ]
    made, copied = (report.counters.get(name, 0) for name in ("partitions_computed", "partitions_copied"))
    if made + copied:
        tiles.append((f"{made:,}", f"partitions computed, {copied:,} copied, ever", ""))
    cells = (f'<div class="tile {kind}"><b>{value}</b><span>{escape(text)}</span></div>' for value, text, kind in tiles)
    return f'<div class="tiles">{"".join(cells)}</div>'


def _figure(chart: Chart) -> str:
    drawn = "".join(
        f'<div class="{kind}" role="img" aria-label="{escape(chart.summary, quote=True)}">{svg}</div>'
        for kind, svg in (("wide", chart.wide), ("narrow", chart.narrow))
    )
    return f"<section><h2>{escape(chart.title)}</h2><figure>{drawn}</figure></section>"


def _jobs(report: StoreReport) -> str:
    rows = [(state, f"{n:,}", seconds_text(age)) for state, n, age in report.jobs]
    return _table("Jobs now", ("state", "#jobs", "#oldest"), rows, "No computation is queued, running, failed or dead.")


def _failing(failing: Sequence[FailingFeature]) -> str:
    rows = [
        (f.feature, f"{f.failed:,}", f"{f.dead:,}", _moment(f.last) if f.last else "-", f"!{f.symbol}: {f.error}")
        for f in failing
    ]
    return _table(
        "Failures by feature", ("feature", "#failed", "#dead", "last (UTC)", "*last error"), rows,
        "None within a day, and no computation is dead.",
    )  # fmt: skip


def _degraded(periods: Sequence[DegradedPeriod]) -> str:
    rows = [(p.mode, _moment(p.start), _moment(p.end), f"{p.requests:,}") for p in periods[:30]]
    return _table(
        "Degraded periods", ("mode", "from", "to", "#requests"), rows, "None: every request was served as it should be."
    )


def _runs(runs: Sequence[UpkeepRun]) -> str:
    rows = []
    for run in [*runs][::-1][:30]:
        took = seconds_text(run.seconds) if run.seconds is not None else "no end"
        if run.error:
            outcome = run.error
        elif run.kind == "gc":
            outcome = (
                f"{run.files_deleted:,} files deleted, {decimal(run.bytes_freed)} freed, {run.condemned:,} condemned"
            )
        else:
            outcome = f"{run.checked:,} entries read, {run.quarantined:,} quarantined"
        name = {"gc": "garbage collection", "sweep": "integrity sweep"}[run.kind]
        rows.append((_moment(run.started), name, took, ("!" if run.error or run.seconds is None else "") + outcome))
    return _table(
        "Upkeep", ("started (UTC)", "run", "#took", "*outcome"), rows, "No run in this period: is Beat running?"
    )


def _table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]], empty: str) -> str:
    """Write a table.

    A column named ``#...`` holds numbers, ``*...`` long text, and a cell ``!...`` is
    bad news.
    """
    lines = []
    for row in rows:
        cells = []
        for column, value in zip(columns, row, strict=True):
            kinds = ["n"] if column.startswith("#") else ["text"] if column.startswith("*") else []
            if value.startswith("!"):
                kinds.append("bad")
            name = escape(column.lstrip("#*"), quote=True)
            cells.append(f'<td class="{" ".join(kinds)}" data-name="{name}">{escape(value.removeprefix("!"))}</td>')
        lines.append(f"<tr>{''.join(cells)}</tr>")
    if not lines:
        return f'<section><h2>{escape(title)}</h2><p class="none">{escape(empty)}</p></section>'
    heads = "".join(f'<th class="{"n" if c.startswith("#") else ""}">{escape(c.lstrip("#*"))}</th>' for c in columns)
    table = f"<table><thead><tr>{heads}</tr></thead><tbody>{''.join(lines)}</tbody></table>"
    return f'<section><h2>{escape(title)}</h2><div class="scroll">{table}</div></section>'


def _period(report: StoreReport) -> str:
    days = (report.made - report.since).total_seconds() / 86400
    return f"the last {days:g} days" if days != 1 else "the last day"


def _moment(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M}"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f} %"


def _bound(seconds: float | None) -> str:
    return "-" if seconds is None else f"≤ {seconds_text(seconds)}"
