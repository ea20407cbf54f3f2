"""What one worker process holds open: nothing in the parent, everything in each child."""

from __future__ import annotations

import os
import threading

import pyarrow as pa

from fstore.bootstrap import load_settings, open_resources
from fstore.calling import keep_clean, watch_imports
from fstore.resources import Resources
from fstore.runtime import tracing
from fstore.settings import LeaseTimes
from workers import descendants
from workers.memory_limit import bound_memory
from workers.stopping import is_stopping

_opened: tuple[int, Resources] | None = None
_guard = threading.Lock()


def resources() -> Resources:
    """Return this process's open adapters, opened at the first call."""
    global _opened  # noqa: PLW0603 one set of connections a process is the point
    with _guard:
        if _opened is None or _opened[0] != os.getpid():
            _opened = (os.getpid(), open_resources(load_settings(), role="worker"))
        return _opened[1]


def open_in_child() -> None:
    """Open the adapters when a child starts; one core a child is what the pool's size counts on."""
    watch_imports()
    pa.set_cpu_count(1)
    pa.set_io_thread_count(2)
    bound_memory(resources().settings)
    exporter = resources().settings.trace_exporter
    if exporter is not None:
        tracing.export(exporter)
    descendants.allow()
    keep_clean(is_stopping=is_stopping)


def close() -> None:
    """End what features left running, hand over what was noted and close this process's adapters."""
    global _opened  # noqa: PLW0603 see resources
    if _opened is not None and _opened[0] == os.getpid():
        _opened[1].recorder.count("processes_ended", descendants.end_all())
        _opened[1].close()
    _opened = None
    tracing.stop()


def lease_times() -> LeaseTimes:
    """Return by which times nobody waits on a silent worker."""
    return load_settings().lease_times
