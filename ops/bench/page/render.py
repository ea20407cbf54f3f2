"""Writes the benchmark page: the text is ``benchmarks.template``, the numbers are the run's."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from string import Template
from typing import Any

from page import capacity
from page.plots import number

TITLES = {
    "hits": "Hits",
    "misses": "Misses",
    "stampede": "Stampede and demo",
    "batch": "Batches",
    "manifest": "Publishes",
    "scale": "Scale",
    "mixed": "Mixed load",
    "fingerprint": "Fingerprints",
    "upkeep": "Garbage collection",
    "projection": "Parts of results",
    "incremental": "A new day",
    "coldstart": "Cold starts",
}
PEERS = ("joblib.Memory", "diskcache", "read_table", "pandas.read_parquet")

Found = Mapping[str, Any]


def render(found: Found) -> str:
    """Return the page for the numbers of a run."""
    benches: Mapping[str, Found] = found["benches"]
    sections = {f"table_{name}": figures_table(benches[name]) if name in benches else ABSENT for name in TITLES}
    pictures = {f"picture_{name}": picture(name) if name in benches else "" for name in TITLES}
    text = Template(Path(__file__).with_name("benchmarks.template").read_text()).substitute(
        sections,
        **pictures,
        machine=machine_table(found),
        verdict=verdict(benches),
        missed=missed_list(benches),
        losses=loss_list(benches),
        hit_times=hit_times(benches),
        batch_times=batch_times(benches),
        miss_steps=miss_steps(benches),
        miss_timeline=miss_timeline(benches),
        asked_of_rows=asked_of_rows(benches),
        asked_of_entries=asked_of_entries(benches),
        publish_rates=publish_rates(benches),
        capacity=capacity.table(benches),
    )
    head = (
        "> **A quick trial, not evidence**: smaller numbers on a machine that did other things.\n\n"
        if found["quick"]
        else ""
    )
    return head + text


ABSENT = "Not run."
PUBLISH_WAYS = {
    "fstore": "fstore, one row each",
    "bare": "psycopg2, statement by statement",
    "bare_at_once": "psycopg2, as one string",
    "fstore, groups": "fstore, 64 rows each",
}


def machine_table(found: Found) -> str:
    """Return what the run was taken on."""
    machine = found["machine"]
    days = sorted({bench.get("taken", "") for bench in found["benches"].values()})
    rows = [
        ("taken", " to ".join(sorted({days[0], days[-1]})) if days else ""),
        ("machine", f"{machine['cores']} cores, {machine['memory_gib']} GiB, {machine['system']}"),
        ("Python", machine["python"]),
        *((name, version) for name, version in found["servers"].items()),
        *((name, version) for name, version in machine["versions"].items()),
    ]
    flush = found["benches"].get("manifest", {}).get("measured", {}).get("flush_ms")
    if flush is not None:
        rows.append(("one committed row on the idle Postgres", f"{flush:g} ms"))
    if (created := machine.get("new_file_us")) is not None:
        rows.append(("one empty file created", f"{created / 1000:g} ms"))
    return table(("", ""), rows)


def figures_table(bench: Found) -> str:
    """Return a benchmark's figures with what was promised for them."""
    rows = []
    for figure in bench["figures"]:
        limit = figure["limit"]
        wanted = "" if limit is None else f"{figure['sense']} {limit:,g}"
        verdict = "" if limit is None else ("**missed**" if figure["missed"] else "yes")
        rows.append((figure["name"], number(figure["value"]), wanted, verdict))
    return table(("figure", "measured", "promised", "kept"), rows, right={1})


def verdict(benches: Mapping[str, Found]) -> str:
    """Return how many promises were kept."""
    judged = [figure for bench in benches.values() for figure in bench["figures"] if figure["limit"] is not None]
    missed = sum(figure["missed"] for figure in judged)
    return f"{len(judged) - missed} of {len(judged)} promised figures were kept in this run" + (
        "; missed:" if missed else "."
    )


def missed_list(benches: Mapping[str, Found]) -> str:
    """Return the figures that were missed, one a line."""
    return "\n".join(
        f"- {TITLES[name]}: {figure['name']}: {number(figure['value'])}, promised {figure['sense']} {figure['limit']:,g}"
        for name, bench in benches.items()
        for figure in bench["figures"]
        if figure["missed"]
    )


def loss_list(benches: Mapping[str, Found]) -> str:
    """Return every timing in which a peer was quicker, by how much."""
    lines = []
    for size, times in hit_sizes(benches):
        for way in ("fstore", "fstore, local tier"):
            quicker = [f"{peer} {times[way] / times[peer]:.3g} times" for peer in PEERS if times[peer] < times[way]]
            if quicker:
                lines.append(f"- a hit of {size} by {way}, {number(times[way])} ms: quicker were {', '.join(quicker)}")
    if "misses" in benches:
        alone = benches["misses"]["measured"]["one client"]
        bare = alone["bare round trip"]["p50_ms"]
        lines += [
            f"- a {way}: {found['p50_ms']:.3g} ms where a bare Celery round trip takes {bare:.3g} ms"
            for way, found in alone.items()
            if found["p50_ms"] > bare
        ]
    return "\n".join(lines) or "- nowhere in this run"


def hit_sizes(benches: Mapping[str, Found]) -> Iterable[tuple[str, Mapping[str, float]]]:
    """Yield the frames that hits were timed on, with the times of every way."""
    if "hits" in benches:
        yield from ((name, times) for name, times in benches["hits"]["measured"].items() if " x " in name)


def hit_times(benches: Mapping[str, Found]) -> str:
    """Return the medians of every way to every frame."""
    sizes = dict(hit_sizes(benches))
    if not sizes:
        return ABSENT
    ways = next(iter(sizes.values()))
    rows = [(way, *(number(times[way]) for times in sizes.values())) for way in ways]
    return table(("ms", *sizes), rows, right=set(range(1, len(sizes) + 1)))


def batch_times(benches: Mapping[str, Found]) -> str:
    """Return what a key of a batch takes of the processor, beside a bare task."""
    found = benches.get("batch", {}).get("measured", {}).get("processor ms")
    if not found:
        return ABSENT
    rows = [(name, *(f"{spent[who]:.3g}" for who in ("caller", "worker"))) for name, spent in found.items()]
    return table(("processor time, ms", "caller", "worker"), rows, right={1, 2})


def miss_steps(benches: Mapping[str, Found]) -> str:
    """Return what each step of a miss takes of the processor, and took in the version it was compared with."""
    measured = benches.get("misses", {}).get("measured", {})
    steps, before = measured.get("steps"), measured.get("steps before", {})
    if not steps:
        return ABSENT
    rows = [(step, f"{before[step]:.3g}" if step in before else "", f"{ms:.3g}") for step, ms in steps.items()]
    rows.append(("all", f"{sum(before.values()):.3g}" if before else "", f"{sum(steps.values()):.3g}"))
    asked, once = measured.get("servers", {}), measured.get("servers before", {})
    rows += [
        (f"{name}, beside it", f"{once[name]:.3g}" if name in once else "", f"{ms:.3g}") for name, ms in asked.items()
    ]
    return table(("processor time, ms", "before", "now"), rows, right={1, 2})


def miss_timeline(benches: Mapping[str, Found]) -> str:
    """Return when each step of a miss was done, and how long after the one before."""
    moments = benches.get("misses", {}).get("measured", {}).get("timeline")
    if not moments:
        return ABSENT
    times = list(moments.values())
    rows = [
        (moment, f"{ms:.3g}", f"{ms - before:.3g}")
        for (moment, ms), before in zip(moments.items(), [0.0, *times], strict=False)
    ]
    return table(("one client, medians", "ms after the request", "ms after the step before"), rows, right={1, 2})


def asked_of_rows(benches: Mapping[str, Found]) -> str:
    """Return how long what people and upkeep ask takes on manifests of each size."""
    found = benches.get("scale", {}).get("measured", {}).get("asked of rows, ms")
    if not found:
        return ABSENT
    asked = next(iter(found.values()))
    rows = [(what, *(f"{times[what]:,.4g}" for times in found.values())) for what in asked]
    heads = ("ms, by rows in the manifest", *(f"{int(size):,}" for size in found))
    return table(heads, rows, right=set(range(1, len(heads))))


def asked_of_entries(benches: Mapping[str, Found]) -> str:
    """Return how long requests and upkeep take in stores of real entries that share files."""
    found = benches.get("scale", {}).get("measured", {}).get("by packed entries")
    if not found:
        return ABSENT
    flat = [
        {
            **each["ms"],
            **each["asked, ms"],
            "a collection": each["collection_s"] * 1000,
            "verifying each": 1000 / each["verified_per_s"],
        }
        for each in found.values()
    ]
    rows = [(what, *(f"{times[what]:,.4g}" for times in flat)) for what in flat[0]]
    heads = ("ms, by packed entries", *(f"{int(size):,}" for size in found))
    return table(heads, rows, right=set(range(1, len(heads))))


def publish_rates(benches: Mapping[str, Found]) -> str:
    """Return the rows a second of each way to publish, on a quick and on a slow disk."""
    found = benches.get("manifest", {}).get("measured", {})
    usual, late = found.get("rows per second"), found.get("rows per second, flushes delayed", {})
    if not usual:
        return ABSENT
    rows = [
        (PUBLISH_WAYS.get(way, way), *(number(rates[way]) if way in rates else "" for rates in (usual, late)))
        for way in {**usual, **late}
    ]
    return table(("rows/s", "as the disk is", "every flush 5 ms later"), rows, right={1, 2})


def picture(name: str) -> str:
    """Return the picture of a benchmark, in the reader's theme."""
    if name not in ("hits", "misses", "batch", "manifest", "scale"):
        return ""
    return (
        f'<picture><source media="(prefers-color-scheme: dark)" srcset="images/bench-{name}-dark.svg">'
        f'<img alt="{TITLES[name]}: the numbers of the table below" src="images/bench-{name}-light.svg"></picture>'
    )


def table(head: Sequence[str], rows: Iterable[Sequence[str]], *, right: set[int] | None = None) -> str:
    """Return a Markdown table."""
    marks = ["---:" if place in (right or set()) else "---" for place in range(len(head))]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, marks, *rows))
