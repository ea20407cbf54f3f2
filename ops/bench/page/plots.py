"""The pictures of the benchmark page, each once for light pages and once for dark ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

THEMES = {
    "light": {"paper": "#ffffff", "ink": "#1f2328", "faint": "#d1d9e0"},
    "dark": {"paper": "#0d1117", "ink": "#f0f6fc", "faint": "#3d444d"},
}
# Both are told apart on either paper, in print and by those who see no red.
FSTORE, PEERS, THIRD = ("#2f81f7", "#79b8ff"), ("#d29922",), "#a371f7"
WIDTH_IN = 8.4

Benches = Mapping[str, Mapping[str, Any]]


def draw_all(benches: Benches, folder: Path) -> list[str]:
    """Draw every picture that there are numbers for, and return their names."""
    painters = {
        "hits": (paint_hits, 3, 2.6),
        "misses": (paint_misses, 2, 2.4),
        "batch": (paint_batch, 2, 2.6),
        "manifest": (paint_manifest, 2, 2.4),
        "scale": (paint_scale, 2, 3.0),
    }
    folder.mkdir(parents=True, exist_ok=True)
    drawn = [name for name in painters if name in benches]
    for name in drawn:
        paint, columns, height_in = painters[name]
        for theme in THEMES:
            draw(benches[name]["measured"], paint, columns, height_in, folder / f"bench-{name}-{theme}.svg", theme)
    return drawn


def draw(
    measured: Mapping[str, Any], paint: Callable[..., None], columns: int, height_in: float, path: Path, theme: str
) -> None:
    """Draw one picture in one theme."""
    colours = THEMES[theme]
    style = {
        "font.size": 9,
        "text.color": colours["ink"],
        "axes.labelcolor": colours["ink"],
        "axes.titlesize": 10,
        "axes.edgecolor": colours["faint"],
        "axes.facecolor": colours["paper"],
        "figure.facecolor": colours["paper"],
        "grid.color": colours["faint"],
        "xtick.color": colours["ink"],
        "ytick.color": colours["ink"],
        "axes.spines.top": False,
        "axes.spines.right": False,
        "legend.frameon": False,
        "svg.hashsalt": "fstore",  # the same numbers make the same file
        "figure.constrained_layout.use": True,
    }
    with mpl.rc_context(style):
        figure = Figure(figsize=(WIDTH_IN, height_in))
        FigureCanvasSVG(figure)
        paint([figure.add_subplot(1, columns, place + 1) for place in range(columns)], measured)
        figure.savefig(path, format="svg", metadata={"Date": None, "Creator": None})


def paint_hits(places: Sequence[Axes], measured: Mapping[str, Any]) -> None:
    """Milliseconds of a warm hit and of its peers, one plot a size."""
    ways = ("fstore", "fstore, local tier", "read_table", "pandas.read_parquet", "joblib.Memory", "diskcache")
    sizes = [name for name in measured if " x " in name]
    for axes, size in zip(places, sizes, strict=False):
        bars(axes, f"{size}, ms", {way: measured[size][way] for way in ways}, labels=axes is places[0])


def paint_misses(places: Sequence[Axes], measured: Mapping[str, Any]) -> None:
    """Milliseconds of a miss, and misses a second."""
    bars(places[0], "one client, p50, ms", {way: found["p50_ms"] for way, found in measured["one client"].items()})
    bars(places[1], "8 clients, answers/s", measured["per second"], labels=False)


def paint_batch(places: Sequence[Axes], measured: Mapping[str, Any]) -> None:
    """Tasks that do nothing and computed keys a second, and ready keys a second."""
    rates = {f"fstore, {case}": rate for case, rate in measured["misses per second"].items()}
    bare = {f"bare, {way}": rate for way, rate in measured["bare tasks per second"].items()}
    bars(places[0], "misses and bare tasks, per second", rates | bare)
    ready = {
        f"fstore {name}, {case.split()[0]}": rate
        for case, found in measured["ready keys per second"].items()
        for name, rate in found.items()
    }
    bars(places[1], "ready keys, per second", ready)


def paint_manifest(places: Sequence[Axes], measured: Mapping[str, Any]) -> None:
    """Rows a second, on a quick disk and on a slow one."""
    names = {
        "fstore": "fstore",
        "bare": "bare, statement by statement",
        "bare_at_once": "bare, one round trip",
        "fstore, groups": "fstore, 64 rows each",
    }
    titles = {"rows per second": "rows/s", "rows per second, flushes delayed": "rows/s, each flush 5 ms later"}
    for axes, (key, title) in zip(places, titles.items(), strict=True):
        found = measured.get(key, {})
        bars(axes, title, {names[way]: rate for way, rate in found.items()})


def paint_scale(places: Sequence[Axes], measured: Mapping[str, Any]) -> None:
    """Milliseconds of a request against rows, and against worker processes."""
    labels = {"by rows in the manifest": "rows in the manifest", "by worker processes": "worker processes"}
    for axes, (key, label) in zip(places, labels.items(), strict=True):
        found = measured[key]
        at = [int(name) for name in found]
        for name, colour, mark in (
            ("miss_ms", PEERS[0], "o"),
            ("hit_ms", FSTORE[0], "s"),
            ("select_ms", FSTORE[1], "^"),
        ):
            axes.plot(at, [one[name] for one in found.values()], color=colour, marker=mark, label=name.split("_")[0])
        axes.set_xscale("log", base=10 if max(at) > 10 else 2)
        axes.set_xticks(at, [f"{n:,}" for n in at], minor=False)
        axes.minorticks_off()
        axes.set_ylim(bottom=0)
        axes.set_xlabel(label)
        axes.set_title("p50, ms", loc="left")
        axes.grid(axis="y", linewidth=0.6)
        rates = axes.twinx()
        rates.plot(
            at, [one["misses_s"] for one in found.values()], color=THIRD, linestyle=":", marker="x", label="misses/s"
        )
        rates.set_ylim(bottom=0)
        rates.spines["right"].set_visible(True)
        rates.set_ylabel("misses/s, 8 trainers")
        if axes is places[0]:
            axes.figure.legend(loc="outside upper left", ncols=4, handles=[*axes.get_lines(), *rates.get_lines()])


def bars(axes: Axes, title: str, values: Mapping[str, float], *, labels: bool = True) -> None:
    """Draw lying bars, the value written at each; fstore's have colours of their own."""
    names = list(values)
    ours = ("fstore", "miss")
    colours = [FSTORE[0] if name.startswith(ours) else PEERS[0] for name in names]
    drawn = axes.barh(range(len(names)), list(values.values()), color=colours, height=0.7)
    axes.bar_label(drawn, labels=[number(value) for value in values.values()], padding=2, fontsize=8)
    axes.set_yticks(range(len(names)), names if labels else [""] * len(names))
    axes.invert_yaxis()
    axes.set_xlim(0, 1.22 * max(values.values(), default=1))
    axes.set_xticks([])
    axes.spines["bottom"].set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.set_title(title, loc="left")


def number(value: float) -> str:
    """Write a number for people: three digits, or all of a large one."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
