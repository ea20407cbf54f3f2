"""The digest of a feature's source: everything of its own code that can change what it returns.

Of its module that is the function, what it looks up by name (in texts too, as
in ``raw.query("close > @LIMIT")``), transitively, and every statement that does
more than bind names. Of the other modules of its own code (see ``own_code``)
that are imported it is all that runs. Not covered are other distributions
(``feature(libraries=...)`` adds their versions), and what no source tells: data
files, the environment, locale, time zone, clocks, random numbers.

Comments, docstrings, layout, import order, the Python version and plain
functions, classes and constants that the feature does not reach leave the
digest as it is.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable
from dataclasses import dataclass, replace
from types import FunctionType
from typing import Literal

from blake3 import blake3

from fstore.features.source import module_text, running_code
from fstore.features.source.foreign_names import foreign_texts
from fstore.features.source.imports import imports_in
from fstore.features.source.loaded_modules import LoadedModules, OwnModule
from fstore.features.source.lookups import Definition, Lookups, mangled
from fstore.features.source.module_source import ModuleSource, first_line, import_text, is_script_part
from fstore.features.source.module_text import SourceUnavailable
from fstore.features.source.own_code import FSTORE, Home, home_of
from fstore.features.source.package_walk import Walk, walk
from fstore.features.source.syntax import alias_name, does_nothing, syntax_text

__all__ = ["SourceUnavailable", "Track", "covered", "digest_of_covered", "imported_by", "source_digest", "whole_texts"]

Track = Literal["package", "module"]
_FORMAT = "fstore-source-2"


@dataclass(frozen=True, slots=True)
class Covered:
    """What a digest is made of, and what it leaves out.

    It is made of texts of the feature's module and of other modules of its own code.
    """

    module: str
    texts: tuple[str, ...]
    walk: Walk
    loaded: LoadedModules


def source_digest(function: FunctionType, track: Track = "package", layers: Iterable[str] = ()) -> str:
    """Digest what is known to run when ``function`` is called; 64 hex digits.

    The text is read now: call this when the function has just been defined, so
    that an edit after the import cannot give running code a foreign digest.
    ``layers`` are the modules of what was wrapped around the function.
    Raises ``SourceUnavailable`` where a text cannot be read or does not run.
    """
    return digest_of_covered(covered(function, track, layers))


def digest_of_covered(found: Covered) -> str:
    """Digest what was collected; 64 hex digits."""
    digest = blake3(_FORMAT.encode())
    for part in [*found.texts, *whole_texts(found.walk)]:
        encoded = part.encode("utf-8", "surrogatepass") if isinstance(part, str) else part
        digest.update(len(encoded).to_bytes(8, "big") + encoded)
    if _is_optimized_away(found):
        digest.update(f"python -{'O' * sys.flags.optimize}".encode())
    return digest.hexdigest()


def _is_optimized_away(found: Covered) -> bool:
    """Tell whether this process runs other code than its text says by default.

    Without ``if __debug__``, or without docstrings.
    """
    if not sys.flags.optimize:
        return False
    texts = [*found.texts, *(text for text in found.walk.texts.values() if isinstance(text, str))]
    return any("__debug__" in text for text in texts) or (sys.flags.optimize > 1 and found.walk.docstrings)


def whole_texts(found: Walk) -> list[str | bytes]:
    """Write all that runs of the modules of a walk, each after its name."""
    return [
        part for name, text in sorted(found.texts.items()) for part in (f"module {name}", _whole(name, text, found))
    ]


def covered(function: FunctionType, track: Track = "package", layers: Iterable[str] = ()) -> Covered:
    """Collect what the digest of a function covers."""
    file = function.__code__.co_filename
    text = module_text.own_text(file, function.__globals__)
    source = module_text.parsed(text, file)
    own = _definition_of(function, source)
    home = home_of(function.__globals__, file)
    try:
        if not running_code.check_module(function.__globals__, file, text, home.name or file):
            running_code.check_function(function, text, home.name or file)
        walked, reached = _settle(source, own, home, [layer for layer in layers if layer != home.name])
        if track != "package" or home.top in FSTORE:
            others = walked.others | {name.partition(".")[0] for name in walked.modules}
            walked = Walk(others=others, docstrings=walked.docstrings, source_text=walked.source_text)
        names = reached.names | {function.__qualname__.partition(".")[0]}
        own_module = OwnModule(function.__globals__, file, text, home.name, names)
        loaded = LoadedModules(walked.modules, walked.texts, own_module)
        loaded.check()
        reads = _reads(source, own, reached)
        walked = replace(
            walked,
            docstrings=walked.docstrings or reads.docstrings,
            source_text=walked.source_text or reads.source_text,
        )
        reads.docstrings, reads.own_lines = walked.docstrings, reads.own_lines or walked.source_text
        texts = _reached_texts(source, own, reached, reads)
        foreign = foreign_texts(function, source, reached.places, source_digest)
        return Covered(home.name, (*texts, *foreign), walked, loaded)
    except RecursionError as exc:
        raise SourceUnavailable(f"{file} is nested too deeply") from exc


def imported_by(function: FunctionType) -> frozenset[str]:
    """Name the other libraries that all of the module imports, also where no digest can be taken of it."""
    file = function.__code__.co_filename
    source = module_text.parsed(module_text.own_text(file, function.__globals__), file)
    return frozenset(walk(home_of(function.__globals__, file), source, range(len(source.statements))).others)


def _settle(source: ModuleSource, own: Definition, home: Home, layers: list[str]) -> tuple[Walk, _Reached]:
    """Find the statements of the module and the other modules that lead to each other."""
    wanted: set[str] = set()
    everything = False
    while True:
        reached = _reached_from(source, own, wanted, everything=everything)
        running = reached.places | source.imports
        walked = walk(home, source, running, layers)
        taken = walked.taken | _taken_from_itself(source, running, home)
        takes_all = walked.takes_all or _imports_itself(source, running, home)
        if taken <= wanted and (everything or not takes_all):
            return walked, reached
        wanted |= taken
        everything |= takes_all


def _imports_itself(source: ModuleSource, places: Iterable[int], home: Home) -> bool:
    lines = imports_in((source.statements[place] for place in places), home.package)
    return any(home.name in ([f"{line.module}.{name}" for name in line.names] or [line.module]) for line in lines)


def _taken_from_itself(source: ModuleSource, places: Iterable[int], home: Home) -> set[str]:
    """Collect the attributes that a module may look up on itself, when it imports itself."""
    lookups = Lookups()
    for place in places:
        lookups.add(source.lookups(place))
    last = home.name.rpartition(".")[2]
    return lookups.attributes if last in lookups.attributes | lookups.names | lookups.texts else set()


def _whole(name: str, text: str | bytes, found: Walk) -> str | bytes:
    if isinstance(text, bytes) or found.source_text:
        return text
    try:
        return module_text.parsed(text, name).whole_text(docstrings=found.docstrings)
    except RecursionError as exc:
        raise SourceUnavailable(f"{name} is nested too deeply") from exc


def _definition_of(function: FunctionType, source: ModuleSource) -> Definition:
    line = function.__code__.co_firstlineno
    for node in source.definitions(function.__qualname__):
        if first_line(node) == line:
            return node
    raise SourceUnavailable(f"{function.__code__.co_filename} does not define {function.__qualname__} in line {line}")


@dataclass(frozen=True, slots=True)
class _Reached:
    """Places of statements in a module, and the names by which they were found."""

    places: frozenset[int]
    names: frozenset[str]


def _reached_from(source: ModuleSource, own: Definition, wanted: set[str], *, everything: bool) -> _Reached:
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
    return _Reached(frozenset(places), frozenset(names))


def _reads(source: ModuleSource, own: Definition, reached: _Reached) -> Lookups:
    """Tell what these statements look up together."""
    found = Lookups()
    for node in (own, *(source.statements[place] for place in reached.places)):
        found.add(source.lookups_of(node))
    return found


def _reached_texts(source: ModuleSource, own: Definition, reached: _Reached, found: Lookups) -> list[str]:
    """Write these statements, imports first where their order cannot matter, the others as they run."""
    if found.own_lines:
        return [syntax_text(own), source.text]
    doc = source.tree.body[:1] if found.docstrings else []  # It binds no name by which it would be reached.
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
    docs = [syntax_text(statement, docstrings=True) for statement in doc if does_nothing(statement)]
    return [syntax_text(own, docstrings=found.docstrings), *sorted(imports), *docs, *texts]


def _names(found: Lookups, source: ModuleSource) -> set[str]:
    names = found.names | found.words()
    return names | mangled(names, source.classes)


def _is_star(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.ImportFrom) and statement.names[0].name == "*"


def source_format() -> str:
    """Return the name of the digest's format; digests of different formats cannot be compared."""
    return _FORMAT
