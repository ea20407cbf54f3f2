"""The registry: which functions are features, under which names, in which version."""

from __future__ import annotations

import difflib
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any, TypeVar, overload

from fstore.errors import FeatureNotRegistered
from fstore.features.coverage import source_of
from fstore.features.declarations import (
    SOURCE_PREFIX,
    Feature,
    InputKind,
    checked_input,
    checked_queue,
    checked_timeout,
    checked_track,
    checked_version,
    refuse_second,
)
from fstore.features.libraries import declared_versions, with_libraries
from fstore.features.lookup import MAIN_NAMES, MARK, is_twin, look_up
from fstore.features.names import (
    describe,
    fault_of,
    feature_name,
    misleading,
    not_registered,
    stuck_in_script,
)
from fstore.features.partitioning import Sessions, checked_partitioning
from fstore.features.source.digest import Track

_F = TypeVar("_F", bound=Callable[..., Any])

_registry: dict[str, Feature] = {}
# In which run of which module a name was registered: a reload has another spec, an import anew another module as well.
_runs: dict[str, tuple[object, object]] = {}
_lock = threading.Lock()


@overload
def feature(version: _F) -> _F: ...
@overload
def feature(
    version: str | None = None,
    *,
    input: InputKind = "pandas",
    track: Track = "package",
    libraries: Sequence[str] = (),
    timeout: float | None = None,
    queue: str | None = None,
    partition: str | Sessions | None = None,
    lookback: Any = 0,
    lookahead: Any = 0,
    segment: str | None = None,
    time: str | None = None,
) -> Callable[[_F], _F]: ...
def feature(
    version: Any = None,
    *,
    input: InputKind = "pandas",
    track: Track = "package",
    libraries: Sequence[str] = (),
    timeout: float | None = None,
    queue: str | None = None,
    partition: str | Sessions | None = None,
    lookback: Any = 0,
    lookahead: Any = 0,
    segment: str | None = None,
    time: str | None = None,
) -> Any:
    """Register the function below as a feature and return it unchanged.

    Without ``version`` a digest of the source is the version: an edit of the
    function, of anything it uses in its module, or of a module of its package,
    distribution or folder that is imported on the way, makes new keys
    (``track="module"`` leaves those other modules out). With ``version`` only
    changing that text does. ``libraries`` names distributions or modules, such as
    ``["ta", "numba"]``, whose installed versions become part of the version, so
    that an upgrade makes new keys as well.

    No version covers other libraries, nor data files, the environment, locale,
    time zone, clocks or random numbers: what a feature returns may depend on
    its two arguments alone. ``fstore doctor`` lists what each version covers.

    ``input`` says how the raw data arrive: ``"pandas"``, ``"arrow"`` (a Table) or
    ``"dataset"`` (a pyarrow.dataset.Dataset, for sources larger than memory).

    ``timeout`` is this feature's own limit in seconds, below that of all
    (``FEATURE_STORE_COMPUTE_TIME_LIMIT_S``). ``queue`` is a queue of its own, as for
    machines with a GPU: ``fstore worker --queues gpu`` serves ``queue="gpu"``. Neither
    is part of a key; both hold where workers compute, not in a caller's process.

    ``partition``, a period such as ``"day"`` or ``fstore.sessions(...)``, says that the
    feature is what it gives for each of them, computed from exactly the rows of
    [start - ``lookback``, end + ``lookahead``), one after the other. A reach is a number
    of rows, a time (``"30min"``), ``fstore.partitions(n)`` or a function of the config that
    returns one. ``segment`` is the period whose partitions share a file; ``time`` the
    column of times of an Arrow table. See ``fstore check-feature``.
    """
    if callable(version):
        return _register(version, None, {})
    said: dict[str, Any] = {"input": input, "track": track, "libraries": libraries, "timeout": timeout, "queue": queue}
    said["partition"] = {
        "partition": partition, "lookback": lookback, "lookahead": lookahead, "segment": segment, "time": time,
    }  # fmt: skip
    return lambda func: _register(func, version, said)


def resolve_feature(compute_func: Any) -> Feature:
    """Find the feature for a registered function or for its name ``"module:qualname"``.

    A name is looked up, never imported, and stands for a function only if it
    leads to that very object. What ``fstore.local`` wrapped is returned as it is
    now. Raises ``FeatureNotRegistered`` with the line that fixes it.
    """
    if isinstance(compute_func, Feature):
        return compute_func.current()
    if isinstance(compute_func, str):
        return _by_name(compute_func)
    found = getattr(compute_func, MARK, None)
    if not isinstance(found, Feature) or not (found.func is compute_func or is_twin(found.func, compute_func)):
        # The mark is also seen through functools.wraps and bound methods: those are other callables.
        raise not_registered(compute_func)
    if found.name.startswith(MAIN_NAMES):
        raise stuck_in_script(compute_func)
    return _reachable(found)


def registered_features() -> Mapping[str, Feature]:
    """List the features of this process by name."""
    return MappingProxyType(dict(sorted(_registry.items())))


def own_queues() -> tuple[str, ...]:
    """List the queues that features of this process have of their own."""
    return tuple(sorted({entry.queue for entry in _registry.values() if entry.queue is not None}))


def rename_script() -> None:
    """Give the script's features the name under which workers import them."""
    with _lock:
        for name in [name for name in _registry if name.startswith(MAIN_NAMES)]:
            entry = _registry[name]
            renamed = replace(entry, name=feature_name(entry.func))
            if renamed.name != name:
                del _registry[name]
                _enter(renamed)
                _runs[renamed.name] = _run_of(entry.func)


def _register(func: Any, version: str | None, said: Mapping[str, Any]) -> Any:
    if fault := fault_of(func):
        raise FeatureNotRegistered(describe(func), fault)
    name = feature_name(func)
    versions = declared_versions(said.get("libraries", ()), name)
    declared = with_libraries(checked_version(version, name), versions) if version is not None else ""
    kind = checked_input(said.get("input", "pandas"), name)
    made = Feature(
        name,
        func,
        declared,
        source_digest="",
        explicit=version is not None,
        input=kind,
        track=checked_track(said.get("track", "package"), name),
        libraries=versions,
        partitioning=checked_partitioning(name, **{"partition": None, **said.get("partition", {})}, input=kind),
        queue=checked_queue(said.get("queue"), name),
        timeout_s=checked_timeout(said.get("timeout"), name),
    )
    entry = _digested(made)
    run = _run_of(func)
    with _lock:
        known = _registry.get(name)
        # In a notebook a cell that runs again replaces; there nothing is asked for by name.
        if known is not None and not name.startswith(MAIN_NAMES) and _is_same_run(_runs.get(name), run):
            refuse_second(known, entry)
        _enter(entry)
        _runs[name] = run
    return func


def _digested(entry: Feature) -> Feature:
    """Return the record with the source as it is now, and the version that follows from it."""
    source = source_of(entry.func, entry.track)
    version = entry.version
    if not entry.explicit:
        if source.fault:
            raise FeatureNotRegistered(
                entry.name,
                f"its source cannot be read ({source.fault}), so it needs a version by hand: "
                f'@fstore.feature(version="1") above def {entry.func.__name__}(...)',
            )
        version = with_libraries(f"{SOURCE_PREFIX}{source.digest[:32]}", entry.libraries)
    return replace(entry, version=version, source_digest=source.digest, source_time=source.written, source=source)


def _enter(entry: Feature) -> None:
    try:
        setattr(entry.func, MARK, entry)
    except AttributeError as exc:
        raise FeatureNotRegistered(
            entry.name, "its decorator returns an object that takes no attributes; put @fstore.feature below it"
        ) from exc
    _registry[entry.name] = entry


def _run_of(func: Callable[..., Any]) -> tuple[object, object]:
    module = sys.modules.get(func.__module__)
    return module, getattr(module, "__spec__", None)


def _is_same_run(a: tuple[object, object] | None, b: tuple[object, object]) -> bool:
    return a is not None and a[0] is b[0] and a[1] is b[1]  # specs of two runs are equal


def _reachable(entry: Feature) -> Feature:
    if fault := misleading(entry.name, entry.func):
        raise FeatureNotRegistered(entry.name, fault)
    again = entry.source.loaded.loaded_again()
    return _after_reload(entry, again) if again or entry.source.loaded.is_patched() else entry


def _after_reload(entry: Feature, module: str) -> Feature:
    """Take the digest anew after a notebook loaded another module of the feature's own code again."""
    known, entry = entry, _digested(entry)
    if known.source_digest != entry.source_digest:
        entry.source.loaded.mixed = known.source.loaded.mixed_after(module)
    with _lock:
        if _registry.get(entry.name) is known:
            _enter(entry)
    return entry


def _imported_elsewhere(name: str) -> Feature | None:
    """Find the feature that a package's ``from .module import function`` gives a second name."""
    module, _, qualname = name.partition(":")
    function = look_up(module, qualname) if qualname else None
    found = getattr(function, MARK, None)
    return found if isinstance(found, Feature) and found.func is function else None


def _by_name(name: str) -> Feature:
    found = _registry.get(name) or _imported_elsewhere(name)
    if found is not None and not found.name.startswith(MAIN_NAMES):
        return _reachable(found)
    near = difflib.get_close_matches(name[:200], _registry, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    module = name.partition(":")[0]
    where = module if ":" in name and module.replace(".", "").isidentifier() else "its module"
    raise FeatureNotRegistered(
        name[:200],
        f"{hint}a name has the form 'module:function', the function carries @fstore.feature, and {where[:100]} is listed in "
        "FEATURE_STORE_FEATURE_MODULES of this process",
    )
