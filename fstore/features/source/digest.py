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

from collections.abc import Iterable
from dataclasses import dataclass
from types import FunctionType
from typing import Literal

from blake3 import blake3

from fstore.features.source import module_text, running_code
from fstore.features.source.foreign_names import foreign_texts
from fstore.features.source.loaded_modules import LoadedModules, OwnModule
from fstore.features.source.lookups import Definition, Lookups
from fstore.features.source.module_source import ModuleSource, first_line
from fstore.features.source.module_text import SourceUnavailable
from fstore.features.source.own_code import FSTORE, Home, home_of
from fstore.features.source.package_walk import Walk, walk
from fstore.features.source.reached import Reached, reached_from, reached_texts

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
    return digest.hexdigest()


def whole_texts(found: Walk) -> list[str | bytes]:
    """Write all that runs of the modules of a walk, each after its name."""
    return [part for name, text in sorted(found.texts.items()) for part in (f"module {name}", _whole(name, text))]


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
            walked = Walk(others=walked.others | {name.partition(".")[0] for name in walked.modules})
        loaded = LoadedModules(walked.modules, walked.texts, OwnModule(function.__globals__, file, text))
        loaded.check()
        texts = reached_texts(source, own, reached)
        foreign = foreign_texts(function, source, reached.places, source_digest)
        return Covered(home.name, (*texts, *foreign), walked, loaded)
    except RecursionError as exc:
        raise SourceUnavailable(f"{file} is nested too deeply") from exc


def imported_by(function: FunctionType) -> frozenset[str]:
    """Name the other libraries that all of the module imports, also where no digest can be taken of it."""
    file = function.__code__.co_filename
    source = module_text.parsed(module_text.own_text(file, function.__globals__), file)
    return frozenset(walk(home_of(function.__globals__, file), source, range(len(source.statements))).others)


def _settle(source: ModuleSource, own: Definition, home: Home, layers: list[str]) -> tuple[Walk, Reached]:
    """Find the statements of the module and the other modules that lead to each other."""
    wanted: set[str] = set()
    everything = False
    while True:
        reached = reached_from(source, own, wanted, everything=everything)
        running = reached.places | source.imports
        walked = walk(home, source, running, layers)
        taken = walked.taken | _taken_from_itself(source, running, home)
        if taken <= wanted and (everything or not walked.takes_all):
            return walked, reached
        wanted |= taken
        everything |= walked.takes_all


def _taken_from_itself(source: ModuleSource, places: Iterable[int], home: Home) -> set[str]:
    """Collect the attributes that a module may look up on itself, when it imports itself."""
    lookups = Lookups()
    for place in places:
        lookups.add(source.lookups(place))
    last = home.name.rpartition(".")[2]
    return lookups.attributes if last in lookups.attributes | lookups.names | lookups.texts else set()


def _whole(name: str, text: str | bytes) -> str | bytes:
    try:
        return text if isinstance(text, bytes) else module_text.parsed(text, name).whole_text
    except RecursionError as exc:
        raise SourceUnavailable(f"{name} is nested too deeply") from exc


def _definition_of(function: FunctionType, source: ModuleSource) -> Definition:
    line = function.__code__.co_firstlineno
    for node in source.definitions(function.__qualname__):
        if first_line(node) == line:
            return node
    raise SourceUnavailable(f"{function.__code__.co_filename} does not define {function.__qualname__} in line {line}")


def source_format() -> str:
    """Return the name of the digest's format; digests of different formats cannot be compared."""
    return _FORMAT
