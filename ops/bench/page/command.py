"""Runs every benchmark, one after the other, and writes the page about them.

    python ops/bench [--quick] [--check] [--output FILE] [--only NAME ...] [--render FILE]

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
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from harness.command import SUITES
from harness.figures import machine
from harness.parts import command_of
from harness.stand import BENCH, run_sql

from fstore.stack import temporary_servers
from page.plots import draw_all
from page.render import render

REPOSITORY = BENCH.parent.parent


def main() -> int:
    """Run what is asked for and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="smaller numbers: a look, not evidence")
    parser.add_argument("--check", action="store_true", help="exit 1 and name each figure that is missed")
    parser.add_argument("--output", type=Path, help="the page to write")
    parser.add_argument("--only", nargs="+", choices=SUITES, metavar="NAME", help="run only these")
    parser.add_argument("--render", type=Path, metavar="FILE", help="run nothing: write the page from these numbers")
    chosen = parser.parse_args()
    page = chosen.output or REPOSITORY / ("artefacts" if chosen.quick else "docs") / "benchmarks.md"
    numbers = page.with_suffix(".json")
    page.parent.mkdir(parents=True, exist_ok=True)
    if chosen.render:
        found = json.loads(chosen.render.read_text())
    else:
        earlier = json.loads(numbers.read_text())["benches"] if numbers.exists() else {}
        found = {"quick": chosen.quick, "machine": machine(), "servers": server_versions(), "benches": {}}
        if chosen.only:
            found["benches"] = dict(earlier)
        for name in chosen.only or SUITES:
            print(f"{name} ...", file=sys.stderr, flush=True)
            found["benches"][name] = with_before(run(name, quick=chosen.quick), earlier.get(name, {}))
            numbers.write_text(json.dumps(found, indent=1) + "\n")
    draw_all(found["benches"], page.parent / "images")
    page.write_text(render(found))
    print(f"wrote {page}", file=sys.stderr)
    missed = [figure for bench in found["benches"].values() for figure in bench["figures"] if figure["missed"]]
    for figure in missed if chosen.check else ():
        print(
            f"missed: {figure['name']}: {figure['value']:.3g}, wanted {figure['sense']} {figure['limit']:g}",
            file=sys.stderr,
        )
    return 1 if chosen.check and missed else 0


def with_before(now: dict[str, Any], earlier: dict[str, Any]) -> dict[str, Any]:
    """Keep what an earlier run says of an older version (``... before``), which no run of this one can measure."""
    kept = {name: value for name, value in earlier.get("measured", {}).items() if name.endswith(" before")}
    return {**now, "measured": {**kept, **now["measured"]}}


def run(name: str, *, quick: bool) -> dict[str, Any]:
    """Run one benchmark in a process of its own and return its outcome, with the day it was taken."""
    command = [*command_of(name), "--json", *(["--quick"] if quick else [])]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return {**json.loads(done.stdout), "taken": datetime.now(UTC).date().isoformat()}


def server_versions() -> dict[str, str]:
    """Return what the embedded servers call themselves."""
    with temporary_servers() as servers:
        import redis  # noqa: PLC0415 the driver is of no use to the rest of this file

        found = redis.Redis.from_url(servers.redis_url).info("server")
        return {
            "Postgres": str(run_sql(servers.postgres_url, "SHOW server_version")[0][0]),
            "Redis": str(found["redis_version"]),
        }
