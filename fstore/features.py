"""The registry: which functions are features, under which names, in which version."""

from __future__ import annotations

import difflib
import importlib
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Literal, TypeVar, get_args, overload

from fstore.errors import ConfigurationError, FeatureNotRegistered
from fstore.registry.code_digest import SourceUnavailable, definition_count, source_digest
from fstore.registry.feature_names import (
    MAIN_NAMES,
    claim_script,
    describe,
    fault_of,
    feature_name,
    not_registered,
    plain_function,
    stuck_in_script,
)
from fstore.registry.imports import source_time

InputKind = Literal["pandas", "arrow", "dataset"]
SOURCE_PREFIX = "src:"
_MARK = "__fstore_feature__"
_F = TypeVar("_F", bound=Callable[..., Any])

_registry: dict[str, Feature] = {}
_lock = threading.Lock()


@dataclass(frozen=True, slots=True)
class Feature:
    """A function that can be asked for.

    ``version`` enters the key: what was declared, or ``src:`` and 32 hex digits
    of ``source_digest``, which is empty when an explicit version stands for a
    source that cannot be read. ``input`` is what the function is given:
    a pandas frame, an Arrow table or a pyarrow dataset. ``source_time`` is when the
    file was written that the function was loaded from; nothing is decided by it.
    """

    name: str
    func: Callable[..., Any]
    version: str
    source_digest: str
    explicit: bool
    input: InputKind = "pandas"
    source_time: float | None = None


@overload
def feature(version: _F) -> _F: ...
@overload
def feature(version: str | None = None, *, input: InputKind = "pandas") -> Callable[[_F], _F]: ...
def feature(version: Any = None, *, input: InputKind = "pandas") -> Any:
    """Register the function below as a feature and return it unchanged.

    Without ``version`` the digest of its source is the version: an edit of the
    function, or of anything it uses in its module, makes new keys. With
    ``version`` only changing that text does. ``input`` says how the raw data
    arrive: ``"pandas"``, ``"arrow"`` (a Table) or ``"dataset"`` (a
    pyarrow.dataset.Dataset, for sources larger than memory).
    """
    if callable(version):
        return _register(version, None, "pandas")
    return lambda func: _register(func, version, input)


def resolve(compute_func: Any) -> Feature:
    """Find the feature for a registered function or for its name ``"module:qualname"``.

    A name is looked up, never imported. What ``fstore.local`` wrapped is
    returned as it is. Raises ``FeatureNotRegistered`` with the line that fixes it.
    """
    if isinstance(compute_func, Feature):
        return compute_func
    if isinstance(compute_func, str):
        return _by_name(compute_func)
    found = getattr(compute_func, _MARK, None)
    if not isinstance(found, Feature) or found.func is not compute_func:
        # The mark is also seen through functools.wraps and bound methods: those are other callables.
        raise not_registered(compute_func)
    if found.name.startswith(MAIN_NAMES):
        raise stuck_in_script(compute_func)
    return found


def registered() -> Mapping[str, Feature]:
    """List the features of this process by name."""
    return MappingProxyType(dict(sorted(_registry.items())))


def load_modules(modules: Iterable[str]) -> Mapping[str, Feature]:
    """Import the modules of FEATURE_STORE_FEATURE_MODULES and return all features of this process.

    Call it once, when a process starts. A module that is the running script is
    not imported again; its functions get its real name. Raises
    ``ConfigurationError`` that names every module that cannot be imported.
    """
    faults = []
    for module in modules:
        try:
            if claim_script(module):
                _rename_script()
            else:
                importlib.import_module(module)
        except Exception as exc:
            faults.append(
                f"feature_modules: cannot import {module!r}: {type(exc).__name__}: {exc}; install it, put its folder on "
                "PYTHONPATH, or take it out of FEATURE_STORE_FEATURE_MODULES"
            )
    if faults:
        raise ConfigurationError(faults)
    return registered()


def checked_version(version: Any, name: str) -> str:
    """Return a declared version that can enter a key; raises ``ConfigurationError`` for any other."""
    if not isinstance(version, str):
        raise ConfigurationError([f'{name}: the version must be a text, for example version="1", not {version!r:.40}'])
    if not 1 <= len(version) <= 64 or not version.isprintable() or version.startswith(SOURCE_PREFIX):
        raise ConfigurationError(
            [f"{name}: the version must have 1 to 64 printable characters and not begin with {SOURCE_PREFIX!r}"]
        )
    return version


def checked_input(kind: Any, name: str) -> InputKind:
    """Return a known kind of input; raises ``ConfigurationError`` for any other."""
    for known in get_args(InputKind):
        if kind == known:
            return known  # type: ignore[no-any-return]
    raise ConfigurationError([f"{name}: input must be 'pandas', 'arrow' or 'dataset', not {kind!r:.40}"])


def digest_of(func: Callable[..., Any]) -> str:
    """Digest a function's source, or return an empty text when it cannot be read."""
    function = plain_function(func)
    try:
        return source_digest(function) if function is not None else ""
    except SourceUnavailable:
        return ""


def _register(func: Any, version: str | None, kind: InputKind) -> Any:
    if fault := fault_of(func):
        raise FeatureNotRegistered(describe(func), fault)
    name = feature_name(func)
    kind = checked_input(kind, name)
    digest = digest_of(func)
    if version is None and not digest:
        raise FeatureNotRegistered(
            name,
            f"its source cannot be read (a REPL, exec, or a file that changed since), so it needs a version by hand: "
            f'@fstore.feature(version="1") above def {func.__name__}(...)',
        )
    declared = checked_version(version, name) if version is not None else f"{SOURCE_PREFIX}{digest[:32]}"
    entry = Feature(name, func, declared, digest, version is not None, kind, source_time(func))
    with _lock:
        known = _registry.get(name)
        if known is not None and not _may_replace(known, entry):
            raise FeatureNotRegistered(
                name, f"the name is taken by another function ({_place(known)}); rename the one in {_place(entry)}"
            )
        _enter(entry)
    return func


def _enter(entry: Feature) -> None:
    try:
        setattr(entry.func, _MARK, entry)
    except AttributeError as exc:
        raise FeatureNotRegistered(
            entry.name, "its decorator returns an object that takes no attributes; put @fstore.feature below it"
        ) from exc
    _registry[entry.name] = entry


def _may_replace(known: Feature, entry: Feature) -> bool:
    """Tell a reload of the same module, which replaces, from a second function of the same name, which must not."""
    old, new = plain_function(known.func), plain_function(entry.func)
    if old is None or new is None or known.name.startswith(MAIN_NAMES):
        return True
    if old.__code__.co_filename != new.__code__.co_filename:
        return False
    line = old.__code__.co_firstlineno
    return line == new.__code__.co_firstlineno or definition_count(new, line) == 0


def _place(entry: Feature) -> str:
    function = plain_function(entry.func)
    return f"{function.__code__.co_filename}:{function.__code__.co_firstlineno}" if function else entry.name


def _rename_script() -> None:
    """Give the script's features the name under which workers import them."""
    with _lock:
        for name in [name for name in _registry if name.startswith(MAIN_NAMES)]:
            entry = _registry[name]
            renamed = replace(entry, name=feature_name(entry.func))
            if renamed.name != name:
                del _registry[name]
                _enter(renamed)


def _by_name(name: str) -> Feature:
    found = _registry.get(name)
    if found is not None and not name.startswith(MAIN_NAMES):
        return found
    near = difflib.get_close_matches(name[:200], _registry, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    module = name.partition(":")[0]
    where = module if ":" in name and module.replace(".", "").isidentifier() else "its module"
    raise FeatureNotRegistered(
        name[:200],
        f"{hint}a name has the form 'module:function', the function carries @fstore.feature, and {where[:100]} is listed in "
        "FEATURE_STORE_FEATURE_MODULES of this process",
    )
