"""A file whose age says that a process is alive.

Asking costs a probe no Python, no password and no round trip.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path


def touch_probe(file: str | Path | None) -> None:
    """Touch the file, if there is one to touch; a disk that refuses shows as a file that grows old."""
    if file is not None:
        with suppress(OSError):
            path = Path(file)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
