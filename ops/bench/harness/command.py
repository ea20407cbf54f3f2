"""The one main of all suites: ``--quick``, ``--json`` and ``--check``, and the processes that a suite runs beside itself."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import sys
import time
from typing import Any

from harness.figures import table

SUITES = (
    "hits",
    "misses",
    "stampede",
    "batch",
    "manifest",
    "scale",
    "mixed",
    "fingerprint",
    "upkeep",
    "control",
    "coldstart",
    "projection",
    "incremental",
)


def run_suite(name: str) -> int:
    """Run a suite as a command; 1 when ``--check`` is given and a figure is missed.

    A suite has ``measure(quick=..., ...)``, and where it needs them ``add_options(parser)`` for options
    of its own, ``be_part(number)`` (see ``harness.parts``) and ``alone(what, *words)``.
    """
    suite = importlib.import_module(f"suites.{name}")
    if "--part" in sys.argv:
        return int(suite.be_part(int(sys.argv[sys.argv.index("--part") + 1])))
    if "--alone" in sys.argv:
        print(json.dumps(suite.alone(*sys.argv[sys.argv.index("--alone") + 1 :])))
        return 0
    options = vars(_parser(suite).parse_args())
    shown, checked = options.pop("json"), options.pop("check")
    began = time.monotonic()
    outcome = suite.measure(**options)
    outcome.measured["seconds"] = round(time.monotonic() - began, 1)
    outcome.measured["load_1m"] = round(os.getloadavg()[0], 1)
    print(json.dumps(outcome.as_dict(), indent=2) if shown else table(outcome))
    missed = [figure for figure in outcome.figures if figure.missed]
    for figure in missed if checked else ():
        print(f"missed: {figure.name}: {figure.value:.3g}, wanted {figure.sense} {figure.limit:g}", file=sys.stderr)
    return 1 if checked and missed else 0


def _parser(suite: Any) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=suite.__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="smaller numbers: a look, not evidence")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    parser.add_argument("--check", action="store_true", help="exit 1 and name each figure that is missed")
    if hasattr(suite, "add_options"):
        suite.add_options(parser)
    return parser
