"""Every setting that is put back around a call, in the order in which that is done."""

from __future__ import annotations

import asyncio
import locale
import multiprocessing
import os
import signal
import socket
import sys
import time
from contextlib import suppress
from typing import Any

import pyarrow as pa

from fstore.calling.interpreter_settings import BEFORE_OTHERS, INTERPRETER_SETTINGS
from fstore.calling.library_settings import LIBRARY_SETTINGS
from fstore.calling.number_settings import NUMBER_SETTINGS
from fstore.calling.pandas_options import read_options, write_options
from fstore.calling.process_state import ProcessSetting

try:
    import resource
except ImportError:  # not a POSIX system
    resource = None  # type: ignore[assignment]


def _zone() -> tuple[object, ...]:
    return os.environ.get("TZ"), time.tzname, time.timezone, time.altzone


def _set_zone(noted: tuple[Any, ...]) -> None:
    if noted[0] is None:
        os.environ.pop("TZ", None)
    else:
        os.environ["TZ"] = noted[0]
    if hasattr(time, "tzset"):
        time.tzset()


_VARIABLES: Any = getattr(os, "environb", os.environ)  # bytes, where the system keeps bytes


def _environment() -> dict[Any, Any]:
    # The dict inside holds bytes already; turning each into text and back takes longer than all the rest here.
    return dict(getattr(os.environ, "_data", _VARIABLES))


def _set_environment(noted: dict[Any, Any]) -> None:
    for name in _VARIABLES.keys() - noted.keys():
        del _VARIABLES[name]
    _VARIABLES.update(noted)


def _folder() -> str | None:
    try:
        return os.getcwd()  # noqa: PTH109 a text is all that is compared
    except OSError:  # it was removed
        return None


def _set_folder(noted: str | None) -> None:
    if noted is not None:
        os.chdir(noted)


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


_UNCHANGEABLE = (getattr(signal, "SIGKILL", 9), getattr(signal, "SIGSTOP", 19))
_SIGNALS = tuple(
    int(number) for number in sorted(signal.valid_signals()) if number < 32 and number not in _UNCHANGEABLE
)


# The module below says SIG_DFL as a number; to make an enum's member of it takes longer than to ask.
_handler_of = getattr(sys.modules.get("_signal"), "getsignal", signal.getsignal)


def _handlers() -> dict[int, Any]:
    return {number: _handler_of(number) for number in _SIGNALS}


def _set_handlers(noted: dict[int, Any]) -> None:
    for number, handler in noted.items():
        if handler is not None and _handler_of(number) != handler:  # None: not set by Python, nor to be set by it
            signal.signal(number, handler)


def _no_timers(_: object) -> None:
    for timer in (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF):
        signal.setitimer(timer, 0)


_LIMITS = tuple(
    number
    for name in ("AS", "CORE", "CPU", "DATA", "FSIZE", "NOFILE", "NPROC", "STACK")
    if (number := getattr(resource, f"RLIMIT_{name}", None)) is not None
)


def _limits() -> dict[int, int]:
    return {number: resource.getrlimit(number)[0] for number in _LIMITS}


def _set_limits(noted: dict[int, int]) -> None:
    for number, soft in noted.items():
        now, hard = resource.getrlimit(number)
        if now != soft:
            resource.setrlimit(number, (soft, hard))


def _share() -> tuple[Any, ...]:
    return os.getpriority(os.PRIO_PROCESS, 0), os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None


def _set_share(noted: tuple[Any, ...]) -> None:
    if noted[1] is not None:
        os.sched_setaffinity(0, noted[1])
    with suppress(PermissionError):  # lowered, it can be raised by root alone; that costs time, and no result
        os.setpriority(os.PRIO_PROCESS, 0, noted[0])


def _set_threads(noted: tuple[int, int]) -> None:
    pa.set_cpu_count(noted[0])
    pa.set_io_thread_count(noted[1])


def _none() -> None:
    return None


# In this order: what comes first could keep the rest from being put back.
PROCESS_SETTINGS: tuple[ProcessSetting, ...] = (
    *BEFORE_OTHERS,
    ProcessSetting("pandas option", read_options, write_options, parted=True, at_import=True),
    *NUMBER_SETTINGS,
    ProcessSetting("the locale", lambda: locale.setlocale(locale.LC_ALL), lambda noted: locale.setlocale(locale.LC_ALL, noted), at_import=True),
    ProcessSetting("the environment", _environment, _set_environment),
    ProcessSetting("the time zone", _zone, _set_zone, at_import=True),
    ProcessSetting("the working folder", _folder, _set_folder, at_import=True),
    ProcessSetting("the umask", _umask, os.umask, blind=True, at_import=True),
    *LIBRARY_SETTINGS,
    *INTERPRETER_SETTINGS,
    ProcessSetting("signal handlers", _handlers, _set_handlers),
    *((ProcessSetting("the share of the processors", _share, _set_share),) if hasattr(os, "getpriority") else ()),
    *((ProcessSetting("timers", _none, _no_timers, blind=True),) if hasattr(signal, "setitimer") else ()),
    ProcessSetting("the timeout of sockets", socket.getdefaulttimeout, socket.setdefaulttimeout, at_import=True),
    ProcessSetting("the threads of pyarrow", lambda: (pa.cpu_count(), pa.io_thread_count()), _set_threads),
    ProcessSetting(
        "how processes are started",
        lambda: multiprocessing.get_start_method(allow_none=True),
        lambda noted: multiprocessing.set_start_method(noted, force=True),
    ),
    *((ProcessSetting("limits of resources", _limits, _set_limits),) if resource is not None else ()),
    *((ProcessSetting("the event loop", _none, asyncio.set_event_loop_policy, blind=True),) if sys.version_info < (3, 14) else ()),
    # Last: a signal that was held back until now may end the process here.
    *((ProcessSetting("the signal mask", lambda: signal.pthread_sigmask(signal.SIG_BLOCK, ()), lambda noted: signal.pthread_sigmask(signal.SIG_SETMASK, noted), blind=True),) if hasattr(signal, "pthread_sigmask") else ()),
)  # fmt: skip
AT_IMPORT: tuple[ProcessSetting, ...] = tuple(setting for setting in PROCESS_SETTINGS if setting.at_import)
