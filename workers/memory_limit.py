"""Bounds the memory of a worker's child.

What asks for more than there is gets an error, and its neighbours get none.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path

from fstore.settings import Settings

try:
    import resource
except ImportError:  # not a POSIX system
    resource = None  # type: ignore[assignment]

log = logging.getLogger("fstore.memory")

_CGROUP = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))


def bound_memory(settings: Settings) -> None:
    """Limit the private memory of this process.

    Too much of it is a ``MemoryError`` then, and no kill by the kernel. By default the limit is all the memory of
    the machine or of its container: a request for more never succeeded. Mapped files do not count.
    """
    wanted = settings.worker_memory_limit_mb
    limit = wanted * 1_000_000 if wanted else memory_there_is()
    if resource is None or limit is None:
        return
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    if hard != resource.RLIM_INFINITY:
        limit = min(limit, hard)
    try:
        resource.setrlimit(resource.RLIMIT_DATA, (limit, hard))
    except (OSError, ValueError) as error:
        log.warning("memory is not limited: %s", error)


def memory_there_is() -> int | None:
    """Return the memory of the machine or, if smaller, of the container, in bytes; None when nobody says."""
    try:
        found = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    except (OSError, ValueError, AttributeError):
        return None
    for path in _CGROUP:
        try:
            found.append(int(path.read_text()))
        except (OSError, ValueError):  # not this version of cgroups, or "max"
            continue
    return min(found)
