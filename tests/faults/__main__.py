"""Runs the fault matrix and prints a table: ``python -m tests.faults [--rows 1,5-9] [--random-order SEED] [--json FILE|-] [--document]``."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
import time
from pathlib import Path

import pytest
from rich.console import Console
from rich.table import Table

from tests.faults.conftest import ORDER, WANTED
from tests.faults.harness.outcomes import Outcomes, Row
from tests.faults.rows import PAGE, document, matrix

HERE = Path(__file__).parent
COLOURS = {"passed": "green", "skipped": "yellow"}


def main(arguments: list[str] | None = None) -> int:
    """Run the chosen rows; 1 when one failed, or when a row of the matrix has no test."""
    options = _parser().parse_args(arguments)
    if options.document:
        PAGE.write_text(document(PAGE.read_text()))
        return 0
    wanted = numbers(options.rows) if options.rows else matrix()
    if options.rows:
        os.environ[WANTED] = ",".join(map(str, sorted(wanted)))
    if options.random_order:
        os.environ[ORDER] = options.random_order
    outcomes, began = Outcomes(wanted), time.monotonic()
    told = ["-q", "--tb=short", "-rs"] if options.verbose else ["-qq", "--tb=short", "--no-summary"]
    with contextlib.redirect_stdout(sys.stderr):  # stdout is for the table, or for JSON
        code = pytest.main(
            [str(HERE), "-m", "faults", "-n", str(options.processes), "--dist", "load", "--maxschedchunk", "1",
             *told, *(["-x"] if options.first else [])],
            plugins=[outcomes],
        )  # fmt: skip
    rows, seconds = outcomes.rows(), time.monotonic() - began
    if options.json != "-":
        _show(rows, seconds, options.random_order)
    if options.json:
        report = {"seconds": round(seconds, 1), "order": options.random_order, "rows": [row.as_dict() for row in rows]}
        text = json.dumps(report, indent=2)
        print(text) if options.json == "-" else Path(options.json).write_text(text + "\n")
    for test, why in outcomes.failures:
        print(f"\n--- {test}\n{why}", file=sys.stderr)
    known = (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED)
    return int(code not in known or bool(outcomes.failures) or any(row.outcome not in COLOURS for row in rows))


def numbers(text: str) -> set[int]:
    """Return the numbers of ``1,5-9``."""
    parts = [part.partition("-") for part in text.split(",")]
    return {number for low, _, high in parts for number in range(int(low), int(high or low) + 1)}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description="Run the fault matrix.")
    parser.add_argument("--document", action="store_true", help="run nothing: write the table of docs/faults.md anew")
    parser.add_argument("--rows", help="only these, e.g. 1,5-9")
    parser.add_argument("--json", metavar="FILE", help="write the outcome as JSON; - is stdout, instead of the table")
    parser.add_argument("--random-order", metavar="SEED", help="run the rows in the order this seed gives")
    parser.add_argument(
        "-n", "--processes", type=int, default=4, help="rows at once (waiting costs no core; default 4)"
    )
    parser.add_argument("-x", "--first", action="store_true", help="stop at the first failure")
    parser.add_argument("-v", "--verbose", action="store_true", help="show the test runner's own report")
    return parser


def _show(rows: list[Row], seconds: float, order: str | None) -> None:
    table = Table("row", "fault", "promise", "outcome", "seconds", title="faults")
    for row in rows:
        colour = COLOURS.get(row.outcome, "red")
        outcome = f"{row.outcome}: {row.reason}" if row.reason else row.outcome
        table.add_row(
            str(row.number), row.fault, row.promise, f"[{colour}]{outcome}[/]", f"{row.seconds:.1f}"
        )  # fmt: skip
    console = Console(width=None if sys.stdout.isatty() else 180)
    console.print(table)
    passed = sum(row.outcome == "passed" for row in rows)
    shown = f", order of seed {order}" if order else ""
    console.print(f"{passed} of {len(rows)} rows passed in {seconds:.0f} s{shown}")


if __name__ == "__main__":
    sys.exit(main())
