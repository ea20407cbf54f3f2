"""Breaks everything at random for a while, and checks afterwards that no promise was.

    python ops/bench/chaos.py --seconds 120 --seed 7 [--object-store [radosgw]] [--json]

Three workers, thirty trainers, two Beats and a collection of garbage every five
seconds share one store, while a seeded schedule kills, freezes and restarts them
and the servers, empties Redis, deletes locks and damages files. A checker then
reads the history: one content a key, every answer equal to the direct call, no call
past its deadline, no entry lost, nothing left over. Exits 1 when it finds anything,
and keeps the history. The same seed repeats the same schedule.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

from chaos import closing
from chaos.checker import check
from chaos.history import read, write
from chaos.outcome import evidence_of, figures_of, summary
from chaos.schedule import schedule
from chaos.strikes import play
from chaos.world import world


def main() -> int:
    """Run, check, report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=120, help="how long trainers ask and faults strike")
    parser.add_argument("--seed", type=int, default=1, help="the same seed repeats the same schedule")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    parser.add_argument("--schedule", action="store_true", help="only print the schedule of faults")
    parser.add_argument("--keep", action="store_true", help="keep history, logs and store also when nothing is found")
    parser.add_argument(
        "--object-store", nargs="?", choices=("ministack", "radosgw"), const="ministack",
        help="over a bucket of that server (ministack unless named), which is struck as well",
    )  # fmt: skip
    chosen = parser.parse_args()
    if chosen.schedule:
        print(
            "\n".join(
                f"{f.at_s:8.2f} {f.kind:20} {f.target:3} {f.lasting_s:6.2f}"
                for f in schedule(chosen.seed, chosen.seconds, object_store=chosen.object_store is not None)
            )
        )
        return 0
    folder = Path(tempfile.mkdtemp(prefix=f"fstore-chaos-{chosen.seed}-"))
    figures = run(folder, chosen.seed, chosen.seconds, object_store=chosen.object_store)
    found = bool(figures["violations"])
    figures["history"] = str(folder / "history.jsonl") if found or chosen.keep else None
    print(json.dumps(figures, indent=2) if chosen.json else summary(figures))
    if not found and not chosen.keep:
        shutil.rmtree(folder, ignore_errors=True)
    return 1 if found else 0


def run(folder: Path, seed: int, seconds: float, *, object_store: str | None = None) -> dict[str, Any]:
    """Let a world suffer its schedule, and return the figures and violations."""
    with world(folder, seed, object_store=object_store) as made:
        made.start(seconds)
        play(made, schedule(seed, seconds, object_store=object_store is not None))
        leftovers = closing.come_to_rest(made)
        changes, rows = closing.changes(made), closing.ended_rows(made)
        leftovers += closing.stop(made)
    leftovers += [f"server process {p.pid}" for child in made.servers.children.values() for p in child.spec.leftovers()]
    records = read(made.history)
    write(folder / "history.jsonl", records)
    evidence = evidence_of(records, changes, rows, leftovers, made.complaints + closing.dead_threads(made))
    return figures_of(evidence, check(evidence), records, seed=seed, seconds=seconds)
