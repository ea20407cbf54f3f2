"""How the interpreter runs, warns, logs and finds modules."""

from __future__ import annotations

import gc
import logging
import sys
import threading
import warnings
from operator import attrgetter
from typing import Any

from fstore.calling.process_state import ProcessSetting


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


def _observers() -> tuple[object, ...]:
    threads = (threading.gettrace(), threading.getprofile(), threading.stack_size())
    return sys.gettrace(), sys.get_asyncgen_hooks(), sys.dont_write_bytecode, *threads


def _set_observers(noted: tuple[Any, ...]) -> None:
    trace, hooks, sys.dont_write_bytecode, threads_trace, threads_profile, stack = noted
    sys.settrace(trace)
    sys.set_asyncgen_hooks(*hooks)
    threading.settrace(threads_trace)
    threading.setprofile(threads_profile)
    threading.stack_size(stack)


def _arguments() -> tuple[Any, ...]:
    return sys.argv, tuple(sys.argv), getattr(sys, "tracebacklimit", None)


def _set_arguments(noted: tuple[Any, ...]) -> None:
    sys.argv, content, limit = noted
    sys.argv[:] = content
    if limit is not None:
        sys.tracebacklimit = limit
    elif hasattr(sys, "tracebacklimit"):
        del sys.tracebacklimit


def _streams() -> tuple[object, ...]:
    hooks = (sys.excepthook, sys.displayhook, sys.unraisablehook, threading.excepthook, sys.breakpointhook)
    return (sys.stdin, sys.stdout, sys.stderr, *hooks)


def _set_streams(noted: tuple[Any, ...]) -> None:
    sys.stdin, sys.stdout, sys.stderr = noted[:3]
    sys.excepthook, sys.displayhook, sys.unraisablehook, threading.excepthook, sys.breakpointhook = noted[3:]


# Read twice a call, of every logger there is: at the speed of C.
_of_logger = attrgetter("level", "disabled", "propagate", "handlers", "filters")


class _Loggers:
    """The loggers that were there when they were first noted.

    Those that appear later belong to whoever made them.
    """

    def __init__(self) -> None:
        self._known: dict[logging.Logger, None] = {}

    def read(self) -> tuple[Any, ...]:
        """Return the level, the switches, the handlers and the filters of each, the lists themselves."""
        if not self._known:
            root = logging.getLogger()
            named = list(root.manager.loggerDict.values())
            self._known = dict.fromkeys([root, *(one for one in named if isinstance(one, logging.Logger))])
        return logging.root.manager.disable, list(map(_of_logger, self._known))

    @staticmethod
    def kept(read: tuple[Any, ...]) -> tuple[Any, ...]:
        """Copy the lists."""
        return read[0], [(*switches, [*handlers], [*filters]) for *switches, handlers, filters in read[1]]

    def write(self, noted: tuple[Any, ...]) -> None:
        """Put them back."""
        for logger, (level, disabled, propagate, handlers, filters) in zip(self._known, noted[1], strict=True):
            logger.disabled, logger.propagate = disabled, propagate
            logger.handlers[:], logger.filters[:] = handlers, filters
            logger.setLevel(level)
        for other in logging.root.manager.loggerDict.values():
            if isinstance(other, logging.Logger) and other not in self._known:
                other.disabled = False  # what switches off all that are there (``dictConfig``) does so to these too
        logging.disable(noted[0])


_loggers = _Loggers()


BEFORE_OTHERS = (  # what could keep the rest from being put back
    ProcessSetting("the recursion limit", sys.getrecursionlimit, sys.setrecursionlimit, at_import=True),
    ProcessSetting("warnings", _warnings, _set_warnings, at_import=True),
)
INTERPRETER_SETTINGS = (
    ProcessSetting("the search paths", _search_paths, _set_search_paths),
    ProcessSetting("the interpreter", _interpreter, _set_interpreter),
    ProcessSetting("what observes the interpreter", _observers, _set_observers),
    ProcessSetting("the arguments of the program", _arguments, _set_arguments),
    ProcessSetting("the standard streams and hooks", _streams, _set_streams),
    ProcessSetting("loggers", _loggers.read, _loggers.write, kept=_loggers.kept),
)
