"""Another time of day for the length of a call.

What a function asks its clocks for must not show in its result. Clocks that Python code asks are set: those of
``time``, ``datetime`` and pandas, in these modules and wherever a module that is no library has imported them by
name. What asks in C, such as ``numpy.datetime64("now")``, shows the real time as ever.
"""

from __future__ import annotations

import datetime
import sys
import sysconfig
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import pandas as pd

_LIBRARIES = tuple(
    str(Path(sysconfig.get_path(name)).resolve()) for name in ("stdlib", "platstdlib", "purelib", "platlib")
)


@contextmanager
def clock_at(seconds: float, func: Callable[..., Any]) -> Iterator[None]:
    """Set the clocks that ``func`` may ask to so many seconds since 1970, while they go on."""
    shown = _shown(datetime.timedelta(seconds=seconds - time.time()))
    places: list[dict[str, Any]] = [vars(module) for module in (time, datetime, pd)]
    places += [vars(module) for module in list(sys.modules.values()) if _is_own(module)]
    if isinstance(own := getattr(func, "__globals__", None), dict):
        places.append(own)
    changed: list[tuple[dict[str, Any], str, Any]] = []
    try:
        for place in places:
            for name, value in list(place.items()):
                known = shown.get(id(value))
                if known is not None and known[0] is value:
                    changed.append((place, name, value))
                    place[name] = known[1]
        yield
    finally:
        for place, name, value in changed:
            place[name] = value


def _is_own(module: Any) -> bool:
    file = getattr(module, "__file__", None) if isinstance(module, ModuleType) else None
    if not isinstance(file, str) or module.__name__.partition(".")[0] == "fstore":
        return False
    return not str(Path(file).resolve()).startswith(_LIBRARIES)


def _shown(apart: datetime.timedelta) -> Mapping[int, tuple[Any, Any]]:
    """Map clocks, by their identity, to what is shown in their place."""
    real, date, stamp, parse = datetime.datetime, datetime.date, pd.Timestamp, pd.to_datetime
    now, nanoseconds, local, utc = time.time, time.time_ns, time.localtime, time.gmtime
    seconds = apart.total_seconds()

    def spoken(value: object) -> bool:
        return isinstance(value, str) and value in ("now", "today")

    moments = {
        "now": classmethod(lambda _, tz=None: real.now(tz) + apart),
        "today": classmethod(lambda _: real.now() + apart),
        "utcnow": classmethod(lambda _: real.now(datetime.UTC).replace(tzinfo=None) + apart),
    }
    stamps = {
        "now": classmethod(lambda _, tz=None: stamp.now(tz) + apart),
        "today": classmethod(lambda _, tz=None: stamp.now(tz) + apart),
        "utcnow": classmethod(lambda _: stamp.now("UTC") + apart),
        "__new__": lambda _, value=None, *more, **named: (
            stamp.now(named.get("tz")) + apart if spoken(value) else _made(stamp, value, *more, **named)
        ),
    }
    pairs: list[tuple[Any, Any]] = [
        (now, lambda: now() + seconds),
        (nanoseconds, lambda: nanoseconds() + int(seconds * 1e9)),
        (local, lambda at=None: local(now() + seconds if at is None else at)),
        (utc, lambda at=None: utc(now() + seconds if at is None else at)),
        (real, _standing_for(real, moments)),
        (date, _standing_for(date, {"today": classmethod(lambda _: (real.now() + apart).date())})),
        (stamp, _standing_for(stamp, stamps)),
        (parse, lambda value, *more, **named: stamp.now() + apart if spoken(value) else parse(value, *more, **named)),
    ]
    return {id(one): (one, other) for one, other in pairs}


def _made(kind: type, value: object, *more: Any, **named: Any) -> Any:
    return kind(*(() if value is None and not more and named else (value,)), *more, **named)


class _Standing(type):
    """A class whose instances are those of the class it stands for."""

    real: type

    def __instancecheck__(cls, one: object) -> bool:
        return isinstance(one, cls.real)

    def __subclasscheck__(cls, one: type) -> bool:
        return issubclass(one, cls.real)

    def __eq__(cls, other: object) -> bool:
        return other is cls or other is cls.real

    def __hash__(cls) -> int:
        return hash(cls.real)


def _standing_for(kind: Any, methods: Mapping[str, Any]) -> Any:
    made = {"real": kind, "__new__": lambda _, *given, **named: kind(*given, **named), **methods}
    return _Standing(kind.__name__, (kind,), made)
