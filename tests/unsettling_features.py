"""Features that change what belongs to the whole process that runs them, and one that tells how things are."""

from __future__ import annotations

import asyncio
import calendar
import csv
import ctypes
import decimal
import gc
import io
import locale
import logging
import logging.config
import multiprocessing
import os
import platform
import random
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
import warnings
import zoneinfo
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from fstore import feature
from fstore.errors import (
    BrokerUnavailable,
    ComputeDead,
    ComputeTimeout,
    ManifestUnavailable,
    SourceChanged,
    StorageUnavailable,
)
from tests.sample_features import is_early, mark_start


class Panic(BaseException):
    """What libraries that are written in Rust raise: no ``Exception``."""


class Speechless(BaseException):
    """An error whose text is one as well."""

    def __str__(self) -> str:
        raise Panic("no text")


class NotesFail(Exception):
    """An error of which a traceback cannot be made."""

    @property
    def __notes__(self) -> list[str]:
        raise Panic("no notes")


class _Nameless(type):
    @property
    def __name__(cls) -> str:
        raise Panic("no name")


class NameFails(Exception, metaclass=_Nameless):
    """An error whose class does not tell its name."""


class NeverTrue(Exception):
    """An error that cannot be looked at as true or false, nor compared."""

    def __bool__(self) -> bool:
        raise Panic("neither")

    def __eq__(self, other: object) -> bool:
        raise Panic("not comparable")

    __hash__ = None  # type: ignore[assignment]


class Unpicklable(Exception):
    """An error that cannot go to another process."""

    def __reduce__(self) -> Any:
        raise Panic("stays here")


def _nested(depth: int) -> BaseException:
    error: Exception = ValueError("innermost")
    for _ in range(depth):
        error = ExceptionGroup("more", [error])
    return error


def _hold_back_signals() -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())


def _lower_limit() -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))


def _zone() -> None:
    os.environ["TZ"] = "Asia/Tokyo"
    time.tzset()


def _zone_behind_its_back() -> None:
    _zone()
    del os.environ["TZ"]


def _warn_never_again() -> None:
    warnings.catch_warnings().__enter__()
    warnings.simplefilter("error")
    warnings.showwarning = lambda *_, **__: None


def _enter_and_keep() -> None:
    entered.append(pd.option_context("display.width", 33))
    entered[-1].__enter__()


def _new_paths() -> None:
    sys.path = ["/nowhere"]


def _streams() -> None:
    sys.stdout = sys.stderr = io.StringIO()


def _no_loop() -> None:
    asyncio.run(asyncio.sleep(0))


_ROUND_UP = 0x800 if platform.machine() in ("x86_64", "AMD64", "i686") else 0x400000


def _flush_smallest() -> None:
    kept = (ctypes.c_uint32 * 64)()
    ctypes.CDLL(None).fegetenv(kept)
    kept[7] |= 0x8040  # what libraries built with -ffast-math set on x86
    ctypes.CDLL(None).fesetenv(kept)


_PANDAS_TYPES = pa.Table.from_pandas(
    pd.DataFrame({"p": pd.period_range("2000", periods=1, freq="M"), "i": pd.interval_range(0, 1)})
).schema


def _trace(*_: object) -> None:
    return None


entered: list[Any] = []
CHANGES = {
    "pandas: strings": lambda: pd.set_option("future.infer_string", False),
    "pandas: storage of strings": lambda: pd.set_option("mode.string_storage", "python"),
    "pandas: rows that are shown": lambda: pd.set_option("display.max_rows", 3),
    "pandas: digits": lambda: pd.set_option("display.precision", 2),
    "pandas: an option_context never left": _enter_and_keep,
    "numpy: errors raise": lambda: np.seterr(all="raise"),
    "numpy: errors call": lambda: np.seterrcall(print),
    "numpy: buffer": lambda: np.setbufsize(1600),
    "numpy: an errstate never left": lambda: np.errstate(all="raise").__enter__(),
    "numpy: digits": lambda: np.set_printoptions(precision=2),
    "warnings are errors": lambda: warnings.simplefilter("error"),
    "warnings caught for ever": _warn_never_again,
    "decimal: precision": lambda: setattr(decimal.getcontext(), "prec", 3),
    "decimal: rounding": lambda: setattr(decimal.getcontext(), "rounding", decimal.ROUND_UP),
    "decimal: of new threads": lambda: setattr(decimal.DefaultContext, "prec", 3),
    "floating point: rounding": lambda: ctypes.CDLL(None).fesetround(_ROUND_UP),
    **({"floating point: smallest numbers": _flush_smallest} if platform.machine() == "x86_64" else {}),
    "first day of the week": lambda: calendar.setfirstweekday(6),
    "arrow: periods unknown": lambda: pa.unregister_extension_type("pandas.period"),
    "arrow: intervals unknown": lambda: pa.unregister_extension_type("pandas.interval"),
    "csv: length of fields": lambda: csv.field_size_limit(10),
    "csv: a dialect removed": lambda: csv.unregister_dialect("excel"),
    "csv: a dialect replaced": lambda: csv.register_dialect("excel", delimiter=";"),
    "folders of time zones": lambda: zoneinfo.reset_tzpath(to=["/nowhere"]),
    "trace": lambda: sys.settrace(_trace),
    "trace of threads": lambda: threading.settrace(_trace),
    "profile of threads": lambda: threading.setprofile(_trace),
    "stack of threads": lambda: threading.stack_size(1 << 20),
    "hooks of generators": lambda: sys.set_asyncgen_hooks(firstiter=_trace),
    "no bytecode": lambda: setattr(sys, "dont_write_bytecode", not sys.dont_write_bytecode),
    "arguments": lambda: sys.argv.append("more"),
    "depth of tracebacks": lambda: setattr(sys, "tracebacklimit", 0),
    "breakpoints": lambda: setattr(sys, "breakpointhook", _trace),
    "locale": lambda: locale.setlocale(locale.LC_ALL, "C.UTF-8"),
    "time zone": _zone,
    "time zone, variable removed": _zone_behind_its_back,
    "environment": lambda: os.environ.update(OMP_NUM_THREADS="3", HOME="/nowhere"),
    "environment, removed": lambda: os.environ.pop("PATH"),
    "folder": lambda: os.chdir("/"),
    "umask": lambda: os.umask(0o777),
    "search path": _new_paths,
    "search path, in place": lambda: sys.path.insert(0, "/nowhere"),
    "recursion": lambda: sys.setrecursionlimit(300),
    "digits of integers": lambda: sys.set_int_max_str_digits(700),
    "garbage collection": gc.disable,
    "its thresholds": lambda: gc.set_threshold(1, 1, 1),
    "signal handler": lambda: signal.signal(signal.SIGTERM, signal.SIG_IGN),
    "signal mask": _hold_back_signals,
    "alarm": lambda: signal.setitimer(signal.ITIMER_REAL, 1000.0),
    "limit of open files": _lower_limit,
    "timeout of sockets": lambda: socket.setdefaulttimeout(0.001),
    "root logger": lambda: logging.basicConfig(level=logging.ERROR, force=True),
    "another logger": lambda: logging.getLogger("fstore.publishing").setLevel(logging.CRITICAL),
    "its handlers": lambda: logging.getLogger("fstore.publishing").addHandler(logging.NullHandler()),
    "all loggers that are there": lambda: logging.config.dictConfig({"version": 1}),
    "niceness": lambda: os.setpriority(os.PRIO_PROCESS, 0, 5),
    "processors": lambda: os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}),
    "logging off": lambda: logging.disable(logging.CRITICAL),
    "streams": _streams,
    "hooks": lambda: setattr(threading, "excepthook", print),
    "threads of pyarrow": lambda: pa.set_cpu_count(7),
    "start of processes": lambda: multiprocessing.set_start_method("spawn", force=True),
    "event loop": _no_loop,
}

EXITS = {
    "panic": lambda: Panic("index 7 is out of bounds"),
    "no text": Speechless,
    "generator": lambda: GeneratorExit("closed"),
    "cancelled": lambda: asyncio.CancelledError("given up"),
    "interrupt": lambda: KeyboardInterrupt("by hand"),
    "exit with a code": lambda: SystemExit(3),
    "exit with a text": lambda: SystemExit("no data"),
    "exit well": lambda: SystemExit(0),
    "stop of an iterator": lambda: StopIteration(3),
    "no traceback": lambda: NotesFail("told all the same"),
    "no class name": lambda: NameFails("told all the same"),
    "never true": lambda: NeverTrue("told all the same"),
    "no pickle": lambda: Unpicklable("told all the same"),
    "groups in groups": lambda: _nested(5000),
    "servers of a store inside": lambda: ManifestUnavailable("reading", "is away"),
    "queue of a store inside": lambda: BrokerUnavailable("sending", "is away"),
    "folder of a store inside": lambda: StorageUnavailable("/nowhere", "is away"),
    "patience of a store inside": lambda: ComputeTimeout("0" * 64, 1.0, "running"),
    "death in a store inside": lambda: ComputeDead("0" * 64, 3, "nobody"),
    "data of a store inside": lambda: SourceChanged("/a", "now another"),
    "group": lambda: BaseExceptionGroup("several", [Panic("one"), ValueError("two")]),
}


def class_name(error: BaseException) -> str:
    """Return the name of an error's class, also where that tells none."""
    return "NameFails" if isinstance(error, NameFails) else type(error).__name__


@feature(version="1")
def unsettle(raw: pd.DataFrame, config: Mapping[str, Any]) -> pd.DataFrame:
    """Change something and end well, or with an error."""
    made = pd.DataFrame({"pid": [os.getpid()]})
    CHANGES[config["change"]]()
    if config.get("fails"):
        raise ValueError("after the change")
    return made


@feature(version="1")
def settled(raw: pd.DataFrame, config: Mapping[str, Any]) -> pd.DataFrame:
    """Tell how things are in this process."""
    return pd.DataFrame({"pid": [os.getpid()], "state": [repr(state())], "text": ["a"]})


@feature(version="1")
def drawn(raw: pd.DataFrame, config: Mapping[str, Any]) -> pd.DataFrame:
    """Draw from the shared generators, seeded or not."""
    if "seed" in config:
        np.random.seed(config["seed"])
        random.seed(config["seed"])
    return pd.DataFrame({"pid": [os.getpid()], "numpy": [np.random.random()], "python": [random.random()]})


@feature(version="1")
def leaving(raw: pd.DataFrame, config: Mapping[str, Any]) -> pd.DataFrame:
    """Raise what is no ``Exception``, or tell the process."""
    if config.get("how") is not None:
        raise EXITS[config["how"]]()
    return pd.DataFrame({"pid": [os.getpid()]})


@feature(version="1")
def clumsy(raw: pd.DataFrame, config: Mapping[str, Any]) -> pd.DataFrame:
    """Fail while cleaning up when the first start is told to stop."""
    mark_start(config)
    if is_early(config):
        try:
            time.sleep(60)
        finally:
            raise ValueError("the connection is closed already")
    return raw.head(2)


@feature(version="1")
def pooled(raw: pd.DataFrame, config: Mapping[str, Any]) -> pd.DataFrame:
    """Compute squares in processes of its own."""
    numbers = list(range(5))
    if config["how"] == "executor":
        with ProcessPoolExecutor(2) as executor:
            squares = list(executor.map(square, numbers))
    elif config["how"] == "joblib":
        from joblib import Parallel, delayed

        squares = Parallel(n_jobs=2)(delayed(square)(n) for n in numbers)
    else:
        with multiprocessing.get_context(config["how"]).Pool(2) as pool:
            squares = pool.map(square, numbers)
    return pd.DataFrame({"squares": squares})


@feature(version="1")
def forked(raw: pd.DataFrame, config: Mapping[str, Any]) -> pd.DataFrame:
    """Let a fork return as if it were the worker's child."""
    child = os.fork()
    if child == 0:
        return raw
    return pd.DataFrame({"code": [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])]})


@feature(version="1")
def signals_of_a_fork(raw: pd.DataFrame, config: Mapping[str, Any]) -> pd.DataFrame:
    """Tell whether a process that a pool forks would be ended by each signal."""
    with multiprocessing.get_context("fork").Pool(1) as pool:
        return pd.DataFrame({"ends": pool.map(_ends_by, (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1))})


def _ends_by(number: int) -> bool:
    handler = signal.getsignal(number)  # coverage has one of its own, which ends the process as well
    return handler == signal.SIG_DFL or getattr(handler, "__module__", "").startswith("coverage")


def square(number: int) -> int:
    """Return the square of a number, in a process that is not the worker's child."""
    return number**2


@feature(version="1")
def leaving_behind(raw: pd.DataFrame, config: Mapping[str, Any]) -> pd.DataFrame:
    """Start a program, a fork, and one whose parent is gone; hang for good if told to."""
    pids = [subprocess.Popen(["sleep", "600"], start_new_session=True).pid, os.fork()]
    if pids[1] == 0:
        time.sleep(600)
        os._exit(0)
    reader, writer = os.pipe()
    between = os.fork()
    if between == 0:
        os.write(writer, str(subprocess.Popen(["sleep", "600"]).pid).encode())
        os._exit(0)
    pids.append(int(os.read(reader, 20)))
    with suppress(ChildProcessError):
        os.waitpid(between, 0)
    if config.get("pids"):
        Path(config["pids"]).write_text(" ".join(map(str, pids)))
        _hold_back_signals()  # so that it does not see the soft limit, nor ends in order
        time.sleep(600)
    return pd.DataFrame({"pid": pids})


def state() -> dict[str, Any]:
    """Return what others' settings could have changed."""
    context = decimal.getcontext()
    known = {n: signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP, signal.SIGINT)}
    return {
        "strings": (pd.get_option("mode.string_storage"), str(pd.Series(["a"]).dtype)),
        "shown": [pd.get_option(f"display.{name}") for name in ("max_rows", "precision", "width")],
        "numpy": (np.geterr(), np.geterrcall(), np.getbufsize(), repr(np.array([1.23456789]))),
        "warnings": (list(warnings.filters), warnings.showwarning.__module__, warnings.showwarning.__qualname__),
        "decimal": (context.prec, context.rounding, decimal.DefaultContext.prec),
        "floating point": (ctypes.CDLL(None).fegetround(), (np.float64(0.1) + 0.7).hex(), (np.array([5e-324]) * 1.0)[0].hex()),
        "libraries": (calendar.firstweekday(), csv.field_size_limit(), zoneinfo.TZPATH),
        "arrow": str(pa.ipc.read_schema(_PANDAS_TYPES.serialize())),
        "dialects": [(name, csv.get_dialect(name).delimiter) for name in sorted(csv.list_dialects())],
        "observers": [repr(one) for one in (sys.gettrace(), threading.gettrace(), threading.getprofile(), sys.get_asyncgen_hooks())],
        "program": (sys.argv, getattr(sys, "tracebacklimit", None), sys.dont_write_bytecode, threading.stack_size()),
        "locale": locale.setlocale(locale.LC_ALL),
        "time": (time.tzname, time.timezone, time.localtime(0).tm_hour),
        "environment": sorted(os.environ.items()),
        "folder": str(Path.cwd()),
        "umask": os.umask(0o022),
        "path": sys.path,
        "interpreter": (sys.getrecursionlimit(), sys.get_int_max_str_digits(), gc.isenabled(), gc.get_threshold()),
        "signals": ([getattr(h, "__qualname__", h) for h in known.values()], signal.pthread_sigmask(signal.SIG_BLOCK, ())),
        "alarm": signal.getitimer(signal.ITIMER_REAL),
        "files": resource.getrlimit(resource.RLIMIT_NOFILE),
        "sockets": socket.getdefaulttimeout(),
        "logging": (logging.root.manager.disable, [
            (one.level, len(one.handlers), one.disabled) for one in map(logging.getLogger, ("root", "fstore", "fstore.publishing"))
        ]),
        "processors": (os.sched_getaffinity(0), os.getpriority(os.PRIO_PROCESS, 0) if os.geteuid() == 0 else 0),
        "streams": (type(sys.stdout).__name__, type(sys.stderr).__name__, getattr(threading.excepthook, "__name__", ""), repr(sys.breakpointhook)),
        "threads": pa.cpu_count(),
        "processes": multiprocessing.get_start_method(allow_none=True),
        "loop": _loop(),
    }  # fmt: skip


def _loop() -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            asyncio.get_event_loop_policy().get_event_loop().close()
        except RuntimeError as error:
            return str(error)
    return "a loop"
