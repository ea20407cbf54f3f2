"""How the interpreter runs, warns, logs and finds modules."""

from __future__ import annotations

import gc
import logging
import sys
import threading
import warnings
from typing import Any

from fstore.calling.process_state import Setting


def _warnings() -> tuple[object, ...]:
    return warnings.filters, tuple(warnings.filters), warnings.showwarning, warnings.formatwarning


def _set_warnings(noted: tuple[Any, ...]) -> None:
    filters, content, warnings.showwarning, warnings.formatwarning = noted
    warnings.filters = filters
    warnings.resetwarnings()  # which also forgets what was decided by the filters that were there
    filters[:] = content


def _search_paths() -> tuple[object, ...]:
    lists = (sys.path, sys.meta_path, sys.path_hooks)
    return (*lists, *(tuple(content) for content in lists))


def _set_search_paths(noted: tuple[Any, ...]) -> None:
    sys.path, sys.meta_path, sys.path_hooks = noted[:3]
    for found, content in zip(noted[:3], noted[3:], strict=True):
        found[:] = content


def _interpreter() -> tuple[object, ...]:
    return sys.getswitchinterval(), sys.get_int_max_str_digits(), sys.getprofile(), gc.isenabled(), gc.get_threshold()


def _set_interpreter(noted: tuple[Any, ...]) -> None:
    interval, digits, profile, collects, threshold = noted
    sys.setswitchinterval(interval)
    sys.set_int_max_str_digits(digits)
    sys.setprofile(profile)
    (gc.enable if collects else gc.disable)()
    gc.set_threshold(*threshold)


def _streams() -> tuple[object, ...]:
    hooks = (sys.excepthook, sys.displayhook, sys.unraisablehook, threading.excepthook)
    return (sys.stdin, sys.stdout, sys.stderr, *hooks)


def _set_streams(noted: tuple[Any, ...]) -> None:
    sys.stdin, sys.stdout, sys.stderr = noted[:3]
    sys.excepthook, sys.displayhook, sys.unraisablehook, threading.excepthook = noted[3:]


def _logs() -> tuple[object, ...]:
    root = logging.getLogger()
    return root.level, tuple(root.handlers), tuple(root.filters), root.disabled, root.manager.disable


def _set_logs(noted: tuple[Any, ...]) -> None:
    root = logging.getLogger()
    level, handlers, filters, root.disabled, disabled_up_to = noted
    root.handlers[:], root.filters[:] = handlers, filters
    root.setLevel(level)
    logging.disable(disabled_up_to)


BEFORE_OTHERS = (  # what could keep the rest from being put back
    Setting("the recursion limit", sys.getrecursionlimit, sys.setrecursionlimit, at_import=True),
    Setting("warnings", _warnings, _set_warnings, at_import=True),
)
ALL = (
    Setting("the search paths", _search_paths, _set_search_paths),
    Setting("the interpreter", _interpreter, _set_interpreter),
    Setting("the standard streams and hooks", _streams, _set_streams),
    Setting("the root logger", _logs, _set_logs),
)
