"""Values of libraries whose pickles are faithful: equal bytes make equal values."""

from __future__ import annotations

import copyreg
import io
import pickle
import sys
from typing import Any, Protocol

from pandas.api.extensions import ExtensionArray

from fstore.features.lookup import MAIN_NAMES, is_installed, look_up

_FAITHFUL = frozenset({
    "numpy", "pandas", "pyarrow", "polars", "datetime", "zoneinfo", "dateutil", "pytz",
    "decimal", "fractions", "uuid", "pathlib", "re", "collections", "_collections", "_codecs", "copyreg", "typing", "operator", "_operator",
})  # fmt: skip


class Untellable(Exception):
    """A value's content cannot be told; the text says which value it is."""


class Digest(Protocol):
    """What takes bytes, as BLAKE3 does."""

    def update(self, data: Any, /) -> object:
        """Take more bytes."""


def is_library_value(kind: type) -> bool:
    """Tell a type that a library taught to pickle itself.

    What only has attributes is no matter of a library.
    """
    return str(kind.__module__).partition(".")[0] in _FAITHFUL and pickles_itself(kind)


def pickles_itself(kind: type) -> bool:
    """Tell a type that has a word in its pickles from one of which Python writes all attributes."""
    methods = ("__reduce_ex__", "__reduce__", "__getstate__")
    return kind in copyreg.dispatch_table or any(
        getattr(kind, method, None) is not getattr(object, method) for method in methods
    )


def pickled_into(digest: Digest, value: Any) -> set[str]:
    """Feed a value's pickle to a digest, and return the own modules that it leans on.

    Raises ``Untellable`` when it holds objects of other kinds.
    """
    sink = _Sink(digest)
    pickler = _Pickler(sink, protocol=5)
    try:
        pickler.dump(value)
    except Untellable:
        raise
    except Exception as exc:
        raise Untellable(f"{type(value).__module__}.{type(value).__qualname__}: {exc}") from exc
    digest.update(f"pickle of {sink.size} bytes".encode())
    return pickler.modules


def _modules_in_plan(value: Any) -> set[str]:
    """Name own modules whose functions a query of polars may call.

    Its pickle knows these by their names alone. A module too many costs a recompute after an edit of it.
    """
    kind = type(value)
    if str(kind.__module__).partition(".")[0] != "polars" or kind.__name__ in {"DataFrame", "Series"}:
        return set()
    plan = pickle.dumps(value, protocol=5)
    own = (name for name, module in list(sys.modules.items()) if _is_own_module(name, module))
    return {name for name in own if name.encode() in plan}


def _is_own_module(name: str, module: Any) -> bool:
    if name in MAIN_NAMES or name.partition(".")[0] in sys.stdlib_module_names or not hasattr(module, "__file__"):
        return False
    return not is_installed(vars(module))


class _Sink(io.RawIOBase):
    def __init__(self, digest: Digest) -> None:
        super().__init__()
        self.size, self._digest = 0, digest

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._digest.update(data)
        size = memoryview(data).nbytes
        self.size += size
        return size


class _Pickler(pickle.Pickler):
    def __init__(self, sink: _Sink, protocol: int) -> None:
        super().__init__(sink, protocol)
        self.modules: set[str] = set()

    def reducer_override(self, obj: Any) -> Any:
        """Let pass what a library defines; another function, class or object is refused."""
        qualname = getattr(obj, "__qualname__", None)
        if isinstance(qualname, str):
            # A method of a class, as ZoneInfo's, tells its module by the class alone.
            owner = getattr(obj, "__self__", None)
            home = str(getattr(obj, "__module__", None) or getattr(owner, "__module__", "builtins"))
            is_there = look_up(home, qualname) == obj  # a bound method is made anew at each look
            allowed = is_there and home.partition(".")[0] in _FAITHFUL | {"builtins"}
        else:
            allowed = is_library_value(type(obj)) or type(obj) in _OWN_KINDS or _is_pandas_array(obj)
            # A type variable and the like are pickled by a name of the author's, which says nothing of what they are.
            home = str(getattr(obj, "__module__", None) or "").partition(".")[0]
            allowed &= not hasattr(obj, "__name__") or home in _FAITHFUL or not isinstance(obj.__reduce_ex__(5), str)
        if not allowed:
            raise Untellable(f"{type(obj).__module__}.{type(obj).__qualname__}")
        self.modules |= _modules_in_plan(obj)
        return _without_cache(obj) if hasattr(obj, "_cache") and isinstance(obj, ExtensionArray) else NotImplemented


def _is_pandas_array(obj: Any) -> bool:
    return isinstance(obj, ExtensionArray) and type(obj).__module__.startswith("pandas.")


def _without_cache(array: Any) -> Any:
    """Pickle an array as if nobody had asked it for anything.

    What it remembers of itself is no part of its content.
    """
    reduced = array.__reduce_ex__(5)
    if len(reduced) < 3:
        return NotImplemented
    make, arguments, state, *rest = reduced
    if isinstance(state, tuple) and state and isinstance(state[-1], dict):
        left = {name: item for name, item in state[-1].items() if name != "_cache"}
        state = (*state[:-1], left) if left else state[:-1]
    elif isinstance(state, dict):
        state = {name: item for name, item in state.items() if name != "_cache"}
    return make, arguments, state, *rest


_OWN_KINDS = frozenset({complex, bytearray, slice, range, pickle.PickleBuffer})
