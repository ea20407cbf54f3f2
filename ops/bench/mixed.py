"""``python ops/bench/mixed.py``: what it measures stands in suites/load/mixed.py, what it takes in ``--help``."""

import sys

from harness.command import run_suite

if __name__ == "__main__":
    sys.exit(run_suite("load.mixed"))
