"""The pictures of a report as SVG text, drawn by matplotlib.

Why matplotlib: its SVG needs no script, so the page opens anywhere (mail, CI
artefacts, a browser without network), stays below a few hundred kB, and prints.
Each chart is drawn twice, wide for a screen and narrow for a phone, because text
that is only scaled down cannot be read. Colours are names of CSS variables, so
that the page's light and dark themes hold for the pictures too.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.dates import AutoDateLocator, DateFormatter
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator
from rich.filesize import decimal

from fstore.reporting.report import HOUR, StoreReport

# Stand-ins that matplotlib takes for colours; replaced by the variables in the finished text.
COLOURS = {
    "ink": "#010101", "faint": "#020202", "hit": "#030303", "coalesced": "#040404", "computed": "#050505",
    "failed": "#060606", "bar": "#070707", "bar2": "#080808",
}  # fmt: skip
STYLE = {
    "svg.fonttype": "none",
    "text.parse_math": False,  # a symbol may hold a dollar
    "font.size": 10,
    "text.color": COLOURS["ink"],
    "axes.labelcolor": COLOURS["ink"],
    "xtick.color": COLOURS["ink"],
    "ytick.color": COLOURS["ink"],
    "axes.edgecolor": COLOURS["faint"],
    "grid.color": COLOURS["faint"],
    "grid.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "legend.frameon": False,
    "figure.constrained_layout.use": True,
}
WIDE_IN, NARROW_IN = 9.2, 4.3
LONGEST_NAME, LONGEST_NARROW = 44, 24


@dataclass(frozen=True, slots=True)
class Chart:
    """One picture in both widths; ``summary`` says in words what it shows."""

    title: str
    summary: str
    wide: str
    narrow: str


def draw_charts(report: StoreReport) -> list[Chart]:
    """Draw every chart that has something to show."""
    charts: list[Chart | None] = [_requests(report), _ratio(report)]
    charts.append(_bars("Bytes by feature", [(name, size) for name, _, size in report.by_feature]))
    charts.append(_bars("Bytes by symbol", [(name, size) for name, _, size in report.by_symbol]))
    charts += [_slowest(report), _upkeep(report)]
    return [chart for chart in charts if chart is not None]


def seconds_text(seconds: float) -> str:
    """Write a duration for people."""
    if seconds < 1:
        return f"{seconds * 1000:.3g} ms"
    return f"{seconds:.3g} s" if seconds < 120 else f"{seconds / 60:.3g} min"


def _requests(report: StoreReport) -> Chart | None:
    parts = {
        "hits": ("hit", [s.hits for s in report.spans]),
        "waited for another's": ("coalesced", [s.coalesced for s in report.spans]),
        "computed": ("computed", [s.computed for s in report.spans]),
        "failed": ("failed", [s.failed for s in report.spans]),
    }
    if not any(sum(values) for _, values in parts.values()):
        return None

    def paint(axes: Axes) -> None:
        base = [0] * len(report.spans)
        starts = [s.start for s in report.spans]
        for label, (colour, values) in parts.items():
            axes.bar(
                starts, values, bottom=base, width=report.span * 0.86, align="edge", label=label, color=COLOURS[colour]
            )
            base = [b + v for b, v in zip(base, values, strict=True)]
        axes.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=5))
        _timed(axes, report)
        axes.figure.legend(loc="outside upper left", ncols=4 if axes.figure.get_figwidth() > 6 else 2, fontsize=9)

    return _chart(f"Requests by {_span_name(report.span)}", "How requests were answered over time.", paint, 3.0)


def _ratio(report: StoreReport) -> Chart | None:
    points = [(s.start + report.span / 2, s.hit_ratio) for s in report.spans if s.hit_ratio is not None]
    if not points:
        return None

    def paint(axes: Axes) -> None:
        axes.plot([at for at, _ in points], [100 * r for _, r in points], color=COLOURS["hit"], lw=2, marker="o", ms=4)
        axes.set_ylim(0, 104)
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0f} %"))
        _timed(axes, report)

    return _chart("Hit ratio", "The share of requests that an entry answered at once.", paint, 2.2)


def _bars(title: str, rows: Sequence[tuple[str, int]]) -> Chart | None:
    if not rows:
        return None

    def paint(axes: Axes) -> None:
        names = [_short(name, axes) for name, _ in rows]
        drawn = axes.barh(range(len(rows)), [value for _, value in rows], color=COLOURS["bar"], height=0.66)
        axes.bar_label(drawn, labels=[decimal(value) for _, value in rows], padding=4, fontsize=9)
        _listed(axes, names)

    words = ", ".join(f"{name} {decimal(value)}" for name, value in rows[:3])
    return _chart(title, f"Largest first: {words}.", paint, 0.5 + 0.3 * len(rows))


def _slowest(report: StoreReport) -> Chart | None:
    if not report.slowest:
        return None

    def paint(axes: Axes) -> None:
        rows = report.slowest
        axes.barh(range(len(rows)), [s.p95_s for s in rows], color=COLOURS["bar2"], height=0.66, label="95 % within")
        axes.barh(range(len(rows)), [s.median_s for s in rows], color=COLOURS["bar"], height=0.66, label="median")
        for n, slow in enumerate(rows):
            axes.annotate(
                f"{seconds_text(slow.median_s)}  ({slow.count}x)", (max(slow.p95_s, slow.median_s), n),
                xytext=(4, 0), textcoords="offset points", va="center", fontsize=9,
            )  # fmt: skip
        _listed(axes, [_short(slow.feature, axes) for slow in rows])
        axes.figure.legend(loc="outside upper left", ncols=2, fontsize=9)

    return _chart("Slowest features", "Time of a computation by feature.", paint, 0.9 + 0.3 * len(report.slowest))


def _upkeep(report: StoreReport) -> Chart | None:
    runs = [run for run in report.runs if run.kind == "gc"]
    if not any(run.bytes_freed or run.files_deleted for run in runs):
        return None

    def paint(axes: Axes) -> None:
        axes.vlines([r.started for r in runs], 0, [r.bytes_freed for r in runs], color=COLOURS["bar"], lw=3)
        axes.scatter([r.started for r in runs], [r.bytes_freed for r in runs], color=COLOURS["bar"], s=18, zorder=3)
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: decimal(int(value))))
        axes.set_ylim(bottom=0)
        _timed(axes, report)

    return _chart("Freed by garbage collection", "Bytes that each run freed.", paint, 2.2)


def _chart(title: str, summary: str, paint: Callable[[Axes], None], height_in: float) -> Chart:
    wide, narrow = (_svg(title, paint, width, height_in) for width in (WIDE_IN, NARROW_IN))
    return Chart(title, summary, wide, narrow)


def _svg(title: str, paint: Callable[[Axes], None], width_in: float, height_in: float) -> str:
    with mpl.rc_context({**STYLE, "svg.hashsalt": f"{title}{width_in}"}):
        figure = Figure(figsize=(width_in, height_in))
        FigureCanvasSVG(figure)
        paint(figure.add_subplot())
        out = io.StringIO()
        figure.savefig(out, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = out.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r"font: ([\d.]+)px [^;\"]*", r"font: \1px system-ui, sans-serif", text)
    for name, stand_in in COLOURS.items():
        text = text.replace(stand_in, f"var(--{name})")
    return re.sub(
        r'(<svg [^>]*?) width="[^"]*"', r"\1", re.sub(r'(<svg [^>]*?) height="[^"]*"', r"\1", text, count=1), count=1
    )


def _timed(axes: Axes, report: StoreReport) -> None:
    axes.grid(visible=True, axis="y")
    axes.set_axisbelow(True)
    axes.tick_params(length=0)
    axes.tick_params(axis="x", pad=8)
    axes.set_xlim(report.spans[0].start - 0.1 * report.span, report.spans[-1].start + 1.1 * report.span)
    locator = AutoDateLocator(minticks=2, maxticks=8 if axes.figure.get_figwidth() > 6 else 4, tz=report.made.tzinfo)
    axes.xaxis.set_major_locator(locator)
    form = "%-d %b %H:%M" if report.span == HOUR else "%-d %b"
    axes.xaxis.set_major_formatter(DateFormatter(form, tz=report.made.tzinfo))


def _listed(axes: Axes, names: Sequence[str]) -> None:
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(max(len(names), 2) - 0.5, -0.5)  # the first on top, and a single bar no fatter than others
    axes.set_xticks([])
    axes.margins(x=0.22 if axes.figure.get_figwidth() < 6 else 0.1)
    axes.tick_params(length=0)
    axes.spines["bottom"].set_visible(False)


def _short(name: str, axes: Any) -> str:
    """Shorten a name to what its picture has room for.

    Of a feature the function says more than its module.
    """
    if axes.figure.get_figwidth() > 6:
        return name if len(name) <= LONGEST_NAME else "..." + name[-LONGEST_NAME + 3 :]
    name = name.rpartition(":")[2] or name
    return name if len(name) <= LONGEST_NARROW else name[: LONGEST_NARROW - 3] + "..."


def _span_name(span: timedelta) -> str:
    return "hour" if span == HOUR else "day"
