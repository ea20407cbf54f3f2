"""Which statements of its module a function leans on.

Those that it reaches by name, and those that run for a purpose.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass

from fstore.features.source.lookups import Definition, Lookups, mangled
from fstore.features.source.module_source import ModuleSource, alias_name, import_text, is_script_part
from fstore.features.source.syntax import syntax_text


@dataclass(frozen=True, slots=True)
class Reached:
    """Places of statements in a module, and the names by which they were found."""

    places: frozenset[int]
    names: frozenset[str]


def reached_from(source: ModuleSource, own: Definition, wanted: set[str], *, everything: bool) -> Reached:
    """Find all statements that ``own``, or who looks up ``wanted`` from outside, leans on."""
    home = source.place_of(own)
    waiting = source.always | ({home} if home is not None else set())
    found = source.lookups_of(own)
    names = wanted | _names(found, source)
    everything |= found.any_name
    places: set[int] = set()
    known: set[str] = set()
    while waiting or not names <= known:
        waiting |= {place for name in names - known for place in source.by_name.get(name, ())}
        known |= names
        for place in waiting - places:
            found = source.lookups(place)
            names |= _names(found, source)
            everything |= found.any_name
        places |= waiting
        waiting = set()
        if everything:
            waiting = {i for i, s in enumerate(source.statements) if not is_script_part(s)} - places
            names |= set(source.by_name)
    return Reached(frozenset(places), frozenset(names))


def reached_texts(source: ModuleSource, own: Definition, reached: Reached) -> list[str]:
    """Write these statements, imports first where their order cannot matter, the others as they run."""
    found = Lookups()
    for node in (own, *(source.statements[place] for place in reached.places)):
        found.add(source.lookups_of(node))
    if found.source_text:
        return [syntax_text(own), source.text]
    in_order = any(_is_star(source.statements[place]) for place in reached.places)
    imports: set[str] = set()
    texts: list[str] = []
    for place in sorted(reached.places):
        statement = source.statements[place]
        if isinstance(statement, ast.Import | ast.ImportFrom) and not in_order:
            names = {alias_name(alias) for alias in statement.names}
            single = {name for name in names if len(source.by_name[name]) == 1}
            kept = single if place in source.always else single & reached.names
            imports |= {import_text(statement, name) for name in kept}
            if not (names - single) & reached.names:
                continue
        if statement is not own:
            texts.append(syntax_text(statement, docstrings=found.docstrings))
    return [syntax_text(own, docstrings=found.docstrings), *sorted(imports), *texts]


def _names(found: Lookups, source: ModuleSource) -> set[str]:
    names = found.names | found.words()
    return names | mangled(names, source.classes)


def _is_star(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.ImportFrom) and statement.names[0].name == "*"
