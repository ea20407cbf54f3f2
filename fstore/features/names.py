"""What a function is called, where it can be found again, and what to tell people when it cannot."""

from __future__ import annotations

import functools
import importlib.util
import inspect
import os
import sys
from collections.abc import Callable, Iterator
from types import FunctionType, MethodType
from typing import Any

from fstore.errors import FeatureNotRegistered
from fstore.features.lookup import MAIN_NAMES, look_up

LOCAL_MODULE = "local"  # names that begin with "local:" are those of fstore.local

_main_alias: dict[str, str] = {}
_FAULTS: tuple[tuple[Callable[[Any], bool], str], ...] = (
    (lambda f: isinstance(f, functools.partial), "a partial has no name to find it by; write a def that calls it"),
    (
        lambda f: isinstance(f, MethodType),
        "a method brings along an object that no worker has; write a def outside the class",
    ),
    (
        lambda f: isinstance(f, staticmethod),
        "looking its name up gives the function inside the staticmethod; put @staticmethod above @fstore.feature",
    ),
    (lambda f: plain_function(f) is None, "only a function written with def can be registered"),
    (lambda f: "<lambda>" in f.__qualname__, "a lambda has no name to find it by; write it as a def"),
    (
        lambda f: "<locals>" in f.__qualname__,
        "it is defined inside another function, where no worker can find it; move it to the top of its module "
        "(a decorator of your own must use functools.wraps)",
    ),
    (inspect.iscoroutinefunction, "it is an async function; a feature returns its frame"),
    (
        lambda f: importable_module(f) == LOCAL_MODULE,
        "its module is called local, and 'local:...' are the names of fstore.local; give the module another name",
    ),
)


def plain_function(func: Any) -> FunctionType | None:
    """Follow ``__wrapped__`` to the function whose source is the feature's; None when there is none."""
    last = func
    for last in unwrapped(func):  # noqa: B007 the last one counts
        pass
    return last if isinstance(last, FunctionType) and not hasattr(last, "__wrapped__") else None


def unwrapped(func: Any) -> Iterator[Any]:
    """Yield a callable and, one after the other, what it wraps."""
    seen: set[int] = set()
    while id(func) not in seen:
        yield func
        seen.add(id(func))
        func = getattr(func, "__wrapped__", func)


def misleading(name: str, func: Any) -> str | None:
    """Say why looking up a feature's name does not give its function, and the line that mends it.

    None when it does. Whoever asks by a name means what the name leads to, as in
    pickle.
    """
    module, _, qualname = name.partition(":")
    home = func.__module__ if getattr(func, "__module__", None) in MAIN_NAMES else module
    found = look_up(home, qualname)
    if found is func:
        return None
    short = qualname.rpartition(".")[2]
    own = f'@fstore.feature(version="1") on top of a def of its own in {module}'
    if found is None:
        return f"{module} has nothing of this name (deleted, or made by exec or a call); write {own}"
    if any(inner is func for inner in unwrapped(found)):
        return (
            "a decorator stands above @fstore.feature, so the name leads to other code than would be run; "
            "put @fstore.feature on top of other decorators"
        )
    if any(inner is found for inner in unwrapped(func)):
        return (
            f"it wraps {short} and only carries its name, which leads to {short} itself; write {own}, for example "
            f"def {short}_wrapped(raw, config), or put the wrapper as a decorator between @fstore.feature and def {short}; or "
            'compute it in this process: fstore.local(func, version="1")'
        )
    return (
        "the name leads to another object than was registered (redefined, replaced, reloaded, or decorated above "
        f"@fstore.feature); ask for {module}.{qualname} as it is now, put @fstore.feature on top of other decorators, "
        f"or write {own}"
    )


def wrapping_modules(func: Any) -> list[str]:
    """Name the modules of what is wrapped around a plain function, itself included."""
    modules: list[str] = []
    seen: set[int] = set()
    while func is not None and id(func) not in seen:
        seen.add(id(func))
        home = func.__globals__.get("__name__") if isinstance(func, FunctionType) else type(func).__module__
        modules.append(str(home))
        func = getattr(func, "__wrapped__", None)
    return [name for name in dict.fromkeys(modules) if name not in MAIN_NAMES]


def feature_name(func: Callable[..., Any]) -> str:
    """Name a function ``"module:qualname"``, by the name under which a worker can import its module."""
    return f"{importable_module(func)}:{func.__qualname__}"


def importable_module(func: Callable[..., Any]) -> str:
    """Find the importable name of the function's module, also when that module is the running script."""
    module = func.__module__
    function = plain_function(func)
    if module not in MAIN_NAMES or function is None:
        return module
    spec = function.__globals__.get("__spec__")
    if spec is not None and spec.name not in MAIN_NAMES:
        return str(spec.name)
    return _main_alias.get(_real(function.__globals__.get("__file__")), "__main__")


def claim_script(module: str) -> bool:
    """Say whether ``module`` is the running script itself.

    If so its functions are known by this name from now on. Importing it again under its
    name would run the script a second time.
    """
    main = sys.modules.get("__main__")
    spec = getattr(main, "__spec__", None)
    if spec is not None:
        return bool(spec.name == module)
    script = _real(getattr(main, "__file__", None))
    if not script:
        return False
    if module in sys.modules:
        file = getattr(sys.modules[module], "__file__", None)
    else:
        found = importlib.util.find_spec(module)
        file = found.origin if found is not None else None
    if _real(file) != script:
        return False
    _main_alias[script] = module
    return True


def fault_of(func: Any) -> str | None:
    """Say why a callable cannot be a registered feature; None when it can."""
    return next((fault for applies, fault in _FAULTS if applies(func)), None) or signature_fault(func)


def signature_fault(func: Callable[..., Any]) -> str | None:
    """Say why ``func(raw, config)`` could not be called; None when it could."""
    try:
        inspect.signature(func).bind(None, None)
    except TypeError as exc:
        return f"it must be callable as func(raw, config): {exc}"
    except ValueError:
        return None  # Some compiled callables do not tell their signature.
    return None


def describe(func: Any) -> str:
    """Name any object the way its owner would recognise it; never fails."""
    target = func.func if isinstance(func, functools.partial) else func
    name = getattr(target, "__qualname__", None) or type(target).__qualname__
    module = getattr(target, "__module__", None) or type(target).__module__
    return f"{module}:{name}"[:200]


def not_registered(func: Any) -> FeatureNotRegistered:
    """Build the error for a callable that was never registered, with the line that fixes it."""
    fault = fault_of(func)
    short = getattr(func, "__name__", "func")
    local = f'fstore.local({short if short.isidentifier() else "func"}, version="1")'
    if fault:
        return FeatureNotRegistered(describe(func), f"{fault}; or compute it in this process: {local}")
    module = importable_module(func)
    if module in MAIN_NAMES:
        return stuck_in_script(func)
    return FeatureNotRegistered(
        feature_name(func),
        f'write  @fstore.feature(version="1")  on the line above  def {short}(...)  in {module}, on top of other '
        f"decorators, and list the module in FEATURE_STORE_FEATURE_MODULES of trainers and workers; "
        f"or compute it in this process: {local}",
    )


def stuck_in_script(func: Callable[..., Any]) -> FeatureNotRegistered:
    """Build the error for a function of a script or notebook, which workers cannot import."""
    return FeatureNotRegistered(
        f"__main__:{func.__qualname__}",
        f"it is defined in the running script or notebook, which workers cannot import; move def {func.__name__}(...) with "
        '@fstore.feature(version="1") above it to a module, for example my_features.py, and set  FEATURE_STORE_FEATURE_MODULES=my_features,fstore.intraday  for '
        f'trainers and workers; or compute it in this process: fstore.local({func.__name__}, version="1")',
    )


def _real(file: str | None) -> str:
    return os.path.realpath(file) if file else ""
