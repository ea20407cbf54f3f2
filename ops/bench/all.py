"""Runs every benchmark, one after the other, and writes the page about them.

    python ops/bench/all.py [--quick] [--check] [--output FILE] [--only NAME ...] [--render FILE]

Writes ``docs/benchmarks.md``, its numbers as ``benchmarks.json`` beside it and its
pictures below ``images/``; with ``--quick``, which is a look and no evidence, all of
that below ``artefacts/``. ``--only`` takes the other benchmarks' numbers from the last run.
``--render`` writes the page from an earlier run's numbers.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import benchmark_page
import benchmark_plots
import fingerprint
import upkeep
from figures import Figure, machine
from stand import HERE, run_sql

from fstore.stack import temporary_servers

REPOSITORY = HERE.parent.parent
NAMES = ("hits", "misses", "stampede", "batch", "manifest", "scale", "fingerprint", "upkeep")
QUICK = {"fingerprint": ["--gb", "0.05"], "upkeep": ["--entries", "2000"]}  # of those with sizes instead of --quick


def main() -> int:
    """Run what is asked for and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="smaller numbers: a look, not evidence")
    parser.add_argument("--check", action="store_true", help="exit 1 and name each figure that is missed")
    parser.add_argument("--output", type=Path, help="the page to write")
    parser.add_argument("--only", nargs="+", choices=NAMES, metavar="NAME", help="run only these")
    parser.add_argument("--render", type=Path, metavar="FILE", help="run nothing: write the page from these numbers")
    chosen = parser.parse_args()
    page = chosen.output or REPOSITORY / ("artefacts" if chosen.quick else "docs") / "benchmarks.md"
    numbers = page.with_suffix(".json")
    page.parent.mkdir(parents=True, exist_ok=True)
    if chosen.render:
        found = json.loads(chosen.render.read_text())
    else:
        found = {"quick": chosen.quick, "machine": machine(), "servers": server_versions(), "benches": {}}
        if chosen.only and numbers.exists():
            found["benches"] = json.loads(numbers.read_text())["benches"]
        for name in chosen.only or NAMES:
            print(f"{name} ...", file=sys.stderr, flush=True)
            found["benches"][name] = run(name, quick=chosen.quick)
            numbers.write_text(json.dumps(found, indent=1) + "\n")
    benchmark_plots.draw_all(found["benches"], page.parent / "images")
    page.write_text(benchmark_page.render(found))
    print(f"wrote {page}", file=sys.stderr)
    missed = [figure for bench in found["benches"].values() for figure in bench["figures"] if figure["missed"]]
    for figure in missed if chosen.check else ():
        print(
            f"missed: {figure['name']}: {figure['value']:.3g}, wanted {figure['sense']} {figure['limit']:g}",
            file=sys.stderr,
        )
    return 1 if chosen.check and missed else 0


def run(name: str, *, quick: bool) -> dict[str, Any]:
    """Run one benchmark in a process of its own and return its outcome, with the day it was taken."""
    options = (QUICK.get(name, ["--quick"]) if quick else []) + ["--json"]
    command = [sys.executable, str(HERE / f"{name}.py"), *options]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    answer = json.loads(done.stdout)
    if name in QUICK:
        figures = {"fingerprint": fingerprint_figures, "upkeep": upkeep_figures}[name](answer)
        answer = {"bench": name, "figures": as_dicts(figures), "measured": answer}
    return {**answer, "taken": datetime.now(UTC).date().isoformat()}


def fingerprint_figures(found: dict[str, float]) -> list[Figure]:
    """Return the figures of ``fingerprint.py``."""
    senses = {">=": "at least", "<=": "at most"}
    return [
        Figure(text, found[name], limit, senses[comparison])
        for name, (comparison, limit, text) in fingerprint.TARGETS.items()
    ]


def upkeep_figures(found: dict[str, Any]) -> list[Figure]:
    """Return the figures of ``upkeep.py``."""
    large = found["runs"][1]
    return [
        Figure("collection / bare walk and SELECT", large["times_floor"], upkeep.FLOOR_FACTOR),
        Figure("cost of an entry, ten times the entries / before", found["growth_ratio"], upkeep.GROWTH_RATIO),
        Figure("peak memory of a collection, MB", large["peak_mb"], upkeep.PEAK_MB),
        Figure("longest publish during a collection, s", large["longest_publish_s"], upkeep.LONGEST_PUBLISH_S),
    ]


def as_dicts(figures: Sequence[Figure]) -> list[dict[str, Any]]:
    """Return figures as the other benchmarks print them."""
    return [figure.as_dict() for figure in figures]


def server_versions() -> dict[str, str]:
    """Return what the embedded servers call themselves."""
    with temporary_servers() as servers:
        import redis  # noqa: PLC0415 the driver is of no use to the rest of this file

        found = redis.Redis.from_url(servers.redis_url).info("server")
        return {
            "Postgres": str(run_sql(servers.postgres_url, "SHOW server_version")[0][0]),
            "Redis": str(found["redis_version"]),
        }


if __name__ == "__main__":
    sys.exit(main())
