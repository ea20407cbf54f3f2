"""``fstore report``: the store at a glance, on the terminal or as a page."""

from __future__ import annotations

from pathlib import Path

import click

from fstore.cli import errors, output
from fstore.cli.context import Call, common, pass_call
from fstore.cli.entries import short
from fstore.cli.tables import Column, Table
from fstore.errors import ConfigurationError
from fstore.reporting import FailingFeature, StoreReport, gather_report, quantiles


@click.command("report", epilog=errors.codes(errors.UNAVAILABLE))
@click.option(
    "--html", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Write a page with charts."
)
@click.option("--days", type=click.FloatRange(0.1, 400), default=14, show_default=True, help="How far to look back.")
@common()
@pass_call
def command(call: Call, html: Path | None, days: float) -> int:
    """Show how the store did: hit ratio, sizes, failing features, upkeep, degraded periods, jobs.

    Features that are slow, too. The page of --html is one file
    without scripts that needs no network; it needs matplotlib: pip install 'intraday-fstore[report]'.
    """
    with call.resources() as resources:
        report = gather_report(resources, days=days)
    if html is not None:
        _write(report, html)
    summary = output.facts(_summary(report), title=f"{report.root}, the last {days:g} {'day' if days == 1 else 'days'}")
    tables = [_sizes("feature", report.by_feature), _sizes("symbol", report.by_symbol)]
    if report.failing:
        tables.append(_failing(report.failing))
    document = {**report.as_dict(), "html": str(html) if html is not None else None}
    call.show(document, summary, *tables, *([f"wrote {html}"] if html is not None else []))
    return errors.OK


def _write(report: StoreReport, html: Path) -> None:
    try:
        from fstore.reporting import render_page  # noqa: PLC0415 only the page needs matplotlib
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            [f"the page needs {error.name}; install it with: pip install 'intraday-fstore[report]'"]
        ) from error
    try:
        html.write_text(render_page(report), encoding="utf-8")
    except OSError as error:
        raise ConfigurationError([f"cannot write {html}: {error.strerror}; name another file"]) from error


def _summary(report: StoreReport) -> list[tuple[str, object]]:
    total, hits = report.total, quantiles(report.hit_times)
    live, live_bytes = report.entries["live"]
    last = {run.kind: run for run in report.runs}
    ratio = f"{100 * total.hit_ratio:.1f} %" if total.hit_ratio is not None else "no requests"
    rows: list[tuple[str, object]] = [
        ("hit ratio", f"{ratio} of {total.hits + total.misses:,} requests"),
        ("computed", f"{total.computed:,}, {total.coalesced:,} waited for another's, {total.failed:,} failed"),
        ("half of the hits within", "-" if hits["p50_s"] is None else f"{1000 * hits['p50_s']:g} ms"),
        ("live entries", f"{live:,}, {output.size(live_bytes)}"),
        ("jobs now", ", ".join(f"{n} {state}" for state, n, _ in report.jobs) or "none"),
        (
            "degraded",
            ", ".join(f"{p.mode} {p.start:%m-%d %H:%M} ({p.requests})" for p in report.degraded[:3]) or "never",
        ),
    ]
    made, copied, covered = (
        report.counters.get(name, 0) for name in ("partitions_computed", "partitions_copied", "segments_covered")
    )
    if made + copied + covered:
        rows.append(
            ("partitions, ever", f"{made:,} computed, {copied:,} copied, {covered:,} segments answered by others")
        )
    for kind, name in (("gc", "garbage collection"), ("sweep", "integrity sweep")):
        run = last.get(kind)
        rows.append(
            (name, f"{output.moment(run.started)}{f': {run.error}' if run.error else ''}" if run else "never ran")
        )
    rows += [(f"slow: {slow.feature}", f"{slow.median_s:.3g} s median of {slow.count}") for slow in report.slowest[:3]]
    return rows


def _sizes(what: str, rows: tuple[tuple[str, int, int], ...]) -> Table:
    made = output.table(Column(what, least=20), Column("entries", right=True), Column("size", right=True))
    for name, n, size_bytes in rows[:8]:
        made.add_row(name, f"{n:,}", output.size(size_bytes))
    return made


def _failing(failing: tuple[FailingFeature, ...]) -> Table:
    made = output.table(
        Column("failing feature", least=20),
        Column("failed", right=True),
        Column("dead", right=True),
        Column("last (UTC)", leave=2),
        Column("symbol", least=6, leave=1),
        Column("last error", least=16),
    )
    for one in failing:
        made.add_row(
            one.feature, f"{one.failed:,}", f"{one.dead:,}", output.moment(one.last), one.symbol, short(one.error, 80)
        )
    return made
