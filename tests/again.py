"""Asks tests that failed once more, alone: ``python -m tests.again``; what fails twice has failed.

Tests that drive processes, sockets and clocks can fail by the machine they share cores on. Nothing else may be asked
again, nor more than a few: what fails by nothing but its own code says so each time, and many failures are no accident.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

MOST = 3
DRIVE_PROCESSES = ("tests/integration/", "tests/e2e/", "tests/faults/")
RECORD = Path(".pytest_cache/v/cache/lastfailed")


def main(root: Path = Path()) -> int:
    """Run what the last run recorded as failed, and name it; 1 when it fails again, or may not be asked again."""
    record = root / RECORD
    failed = sorted(json.loads(record.read_text())) if record.exists() else []
    if why := refusal(failed):
        print(f"not asked again: {why}", file=sys.stderr)
        return 1
    command = [sys.executable, "-m", "pytest", "-m", "", "-rA", "--tb=short", "--show-capture=no", *failed]
    steady = subprocess.run(command, cwd=root, check=False).returncode
    for test in failed:
        print(f"{'failed' if steady else 'unsteady, mend it'}: {test}", file=sys.stderr)
    return int(steady != 0)


def refusal(failed: list[str]) -> str:
    """Return why these tests may not be asked again, or nothing."""
    if not failed:
        return "no test is recorded as failed, the run ended by something else"
    if len(failed) > MOST:
        return f"{len(failed)} tests failed, {MOST} are the most"
    alone = [test for test in failed if not test.startswith(DRIVE_PROCESSES)]
    if alone:
        return f"{', '.join(alone)}: not of {', '.join(DRIVE_PROCESSES)}"
    whole = [test for test in failed if "::" not in test]
    return f"{', '.join(whole)}: could not be collected" if whole else ""


if __name__ == "__main__":
    sys.exit(main())
