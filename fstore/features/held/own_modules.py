"""Modules of the author's own that a callable looks up.

An edit of their texts is an edit of the callable. Counted is what this process runs:
the text that was read when such a module was first needed, until it is loaded again.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from types import FunctionType

from fstore.features.held.library_values import Untellable
from fstore.features.outside.changes import Change, changes_from_outside
from fstore.features.source.digest import SourceUnavailable, whole_texts
from fstore.features.source.loaded_modules import LoadedModules
from fstore.features.source.own_code import UNINSTALLED
from fstore.features.source.package_walk import walk_from

_known: dict[tuple[frozenset[str], frozenset[str]], tuple[LoadedModules, list[str | bytes]]] = {}


@dataclass(slots=True)
class Needs:
    """What a walk through values met that it has to follow when it has seen them all.

    Names of modules, or what may be some; words by which parts of packages may be
    meant; texts, and the functions that may look up what these name.
    """

    modules: set[str] = field(default_factory=set)
    words: set[str] = field(default_factory=set)
    texts: set[str] = field(default_factory=set)
    readers: list[FunctionType] = field(default_factory=list)


def own_texts(needs: Needs) -> tuple[list[str | bytes], list[Change]]:
    """Return the texts of the modules that are needed and no library's, with those that they import.

    And what was set in them from outside.
    """
    key = frozenset(needs.modules), frozenset(needs.words)
    known = _known.get(key)
    if known is None or known[0].has_changed():
        try:
            found = walk_from(UNINSTALLED, *key)
            loaded = LoadedModules(found.modules, found.texts)
            loaded.check()
            known = _known[key] = loaded, whole_texts(found)
        except SourceUnavailable as exc:
            raise Untellable(str(exc)) from exc
    return known[1], changes_from_outside(known[0])


def check_new() -> None:
    """Compare modules that were imported since with the texts that were read.

    Raises ``SourceUnavailable``.
    """
    for loaded, _ in list(_known.values()):
        loaded.check_new()
