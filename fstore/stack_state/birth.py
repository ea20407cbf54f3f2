"""Proof that a process number still means the same process; needs nothing but the operating system."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def birth_of(pid: int) -> str | None:
    """Return a mark that no other process with this number ever shares, or None when none runs.

    On Linux it is the boot's id with the start in clock ticks since that boot,
    because times of day move when the clock is set. A zombie does not run.
    """
    if pid <= 0:
        return None
    if sys.platform == "linux":
        try:
            text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
            boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        except OSError:
            return None
        state, *rest = text.rpartition(")")[2].split()
        return None if state in "ZX" else f"{boot}:{rest[18]}"
    return _birth_by_ps(pid)


def is_same(pid: int, birth: str) -> bool:
    """Tell whether the very process noted as ``pid`` and ``birth`` still runs."""
    return bool(birth) and birth_of(pid) == birth


def _birth_by_ps(pid: int) -> str | None:
    done = subprocess.run(  # noqa: S603 - asks the system about a process
        ["/bin/ps", "-o", "stat=,lstart=", "-p", str(pid)],
        capture_output=True,
        text=True,
        env={**os.environ, "LC_ALL": "C", "TZ": "UTC"},
        check=False,
    )
    state, _, started = done.stdout.strip().partition(" ")
    return None if not started or state.startswith("Z") else started.strip()
