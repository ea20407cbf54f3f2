"""What processes take of memory, as the kernel counts it."""

from __future__ import annotations

from pathlib import Path

PROCESS = Path("/proc/self")


def peak_mib() -> float:
    """Return the most memory this process has had; unlike ru_maxrss it does not count the parent before exec."""
    return _bytes("status", "VmHWM") / 2**20


def resident_mib() -> float:
    """Return the memory this process has now."""
    return _bytes("status", "VmRSS") / 2**20


def forget_peak() -> None:
    """Let the peak begin anew."""
    (PROCESS / "clear_refs").write_text("5")


def proportional_bytes() -> int:
    """Return this process's proportional set size: what it shares with n processes counts 1/n."""
    return _bytes("smaps_rollup", "Pss")


def _bytes(file: str, field: str) -> int:
    lines = (PROCESS / file).read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:"))
