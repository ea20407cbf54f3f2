"""What a feature's version covers and what not, for people who want to know."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from types import FunctionType

from fstore.features.source.digest import SourceUnavailable, Track, covered
from fstore.features.source.own_code import FSTORE, versions_of

NEVER_COVERED = "data files, the environment, locale, time zone, clocks and random numbers"


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


def coverage_of(
    function: FunctionType | None, track: Track, layers: Iterable[str], libraries: Iterable[tuple[str, str]]
) -> Coverage:
    """Look up what the digest of a function covers now."""
    if function is None:
        return Coverage(fault="it is no function written with def")
    try:
        found = covered(function, track, layers)
    except SourceUnavailable as exc:
        return Coverage(fault=str(exc))
    named = {name for name, _ in libraries}
    others = versions_of(set(found.walk.others - FSTORE))
    uncovered = sorted((name, version) for name, version in others.items() if _canonical(name) not in named)
    return Coverage(tuple(sorted({found.module, *found.walk.modules})), tuple(uncovered))


def _canonical(name: str) -> str:
    return name.replace("_", "-").replace(".", "-").lower()
