"""``python ops/bench/compare.py OTHER``: what it measures stands in suites/compare.py, what it takes in ``--help``."""

import sys

from harness.command import run_suite

if __name__ == "__main__":
    sys.exit(run_suite("compare"))
