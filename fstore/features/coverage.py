"""What is known of a feature's source: its digest, and what that covers and what not."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from types import FunctionType
from typing import Any

from fstore.features.libraries import canonical, installed
from fstore.features.lookup import core_function
from fstore.features.names import plain_function, wrapping_modules
from fstore.features.source.digest import SourceUnavailable, Track, covered, digest_of_covered, imported_by
from fstore.features.source.loaded_modules import LoadedModules
from fstore.features.source.module_text import written_at
from fstore.features.source.own_code import FSTORE, find

NEVER_COVERED = "data files, the environment, locale, time zone, clocks and random numbers"
log = logging.getLogger("fstore.coverage")


@dataclass(frozen=True, slots=True)
class Source:
    """What was known of a feature's source when its digest was taken.

    ``digest`` is empty where ``fault`` says why there is none. ``others`` are the
    libraries that are imported, by their import names. ``written`` is when the
    youngest file was that the digest covers; nothing is decided by it.
    """

    digest: str = ""
    fault: str = "it is no function written with def"
    modules: tuple[str, ...] = ()
    others: frozenset[str] = frozenset()
    written: float | None = None
    loaded: LoadedModules = field(default_factory=LoadedModules)


@dataclass(frozen=True, slots=True)
class Coverage:
    """Modules whose code a source digest covers, and imported libraries that no version names.

    ``fault`` says why the source cannot be read; then nothing is covered.
    ``never`` is what no digest covers.
    """

    modules: tuple[str, ...] = ()
    uncovered: tuple[tuple[str, str], ...] = ()
    fault: str = ""
    never: str = NEVER_COVERED


def source_of(func: Callable[..., Any], track: Track = "package") -> Source:
    """Read the source of a function, or of the one it wraps, now; never fails."""
    function = plain_function(func)
    if function is None:
        return Source()
    written = written_at(function.__code__.co_filename)
    try:
        found = covered(function, track, wrapping_modules(func))
        digest = digest_of_covered(found)
    except SourceUnavailable as exc:
        return Source(fault=str(exc), written=written or None)
    modules = tuple(sorted({found.module, *found.walk.modules}))
    others = frozenset(found.walk.others - FSTORE)
    return Source(digest, "", modules, others, max(written, found.walk.written) or None, found.loaded)


def coverage_of(source: Source, named: Iterable[tuple[str, str]]) -> Coverage:
    """Tell what a digest covers, when its feature names these libraries."""
    if source.fault:
        return Coverage(fault=source.fault)
    names = {name for name, _ in named}
    versions = {name: version for top in source.others for name, version in _versions(top).items()}
    return Coverage(source.modules, tuple(sorted(item for item in versions.items() if canonical(item[0]) not in names)))


def imported_libraries(func: Callable[..., Any], source: Source) -> Mapping[str, str]:
    """Return the distributions that a feature's own code imports, with their versions; never fails.

    What a library imports itself does not count. Nothing is decided by it: it is recorded with every entry, and shown.
    """
    try:
        others = source.others if not source.fault else _imported_by(core_function(func))
        return {name: version for top in sorted(others) for name, version in installed(top).items()}
    except Exception as error:  # a computed result is not lost to an environment whose records are broken
        log.warning("cannot tell which libraries %r imports: %s: %s", func, type(error).__name__, error)
        return {}


@lru_cache(maxsize=512)
def _imported_by(function: FunctionType | None) -> frozenset[str]:
    try:
        return imported_by(function) - FSTORE if function is not None else frozenset()
    except SourceUnavailable:
        return frozenset()


def _versions(top: str) -> Mapping[str, str]:
    return installed(top) or ({top: "unknown"} if find(top) is not None else {})
