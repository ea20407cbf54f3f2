"""The modules of a feature's own code that its module imports, directly or through others.

Import lines count wherever they stand, in functions too; so do the packages
around a module, texts that name a module, and attributes that name a
submodule. Who imports what is only known at run time gets the whole package.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from fstore.features.source.imports import Import, absolute, imports_in, named_in
from fstore.features.source.lookups import Lookups, lookups_of_words
from fstore.features.source.module_source import ModuleSource, is_script_part
from fstore.features.source.module_text import SourceUnavailable, parsed, stamp, text_of, written_at
from fstore.features.source.own_code import Found, Home, find, is_standard, submodules


@dataclass(slots=True)
class Walk:
    """What was found by following imports.

    Own modules with their texts, other top-level names, and what is taken from the
    feature's module. ``docstrings`` and ``source_text`` say that one of them may read
    those of all the others. ``written`` is when the youngest of their files was;
    nothing is decided by it.
    """

    modules: dict[str, Found] = field(default_factory=dict)
    texts: dict[str, str | bytes] = field(default_factory=dict)
    others: set[str] = field(default_factory=set)
    taken: set[str] = field(default_factory=set)
    takes_all: bool = False
    docstrings: bool = False
    source_text: bool = False
    stamps: dict[str, tuple[int, ...] | None] = field(default_factory=dict)
    written: float = 0.0

    def is_current(self) -> bool:
        """Tell whether every file and folder that was looked at is what it was."""
        return all(seen is not None and stamp(path) == seen for path, seen in self.stamps.items())


_walks: dict[tuple[Home, frozenset[tuple[str, str]], bool], Walk] = {}


def walk(home: Home, source: ModuleSource, places: Iterable[int], extra: Iterable[str] = ()) -> Walk:
    """Follow the imports of these statements of the feature's module through own code.

    ``extra`` modules are followed as well.
    """
    lookups = Lookups()
    for place in places:
        lookups.add(source.lookups(place))
    walker = _Walker(home)
    walker.start(imports_in([source.statements[place] for place in places], home.package), lookups, extra)
    return _finished(walker, home, lookups)


def walk_from(home: Home, modules: Iterable[str], words: Iterable[str]) -> Walk:
    """Follow modules, and the parts of packages among them that words may mean, through own code."""
    walker = _Walker(home)
    lookups = lookups_of_words(words)
    walker.start([Import(module, ()) for module in modules], Lookups(attributes=lookups.attributes), ())
    return _finished(walker, home, lookups)


def _finished(walker: _Walker, home: Home, lookups: Lookups) -> Walk:
    first = home, frozenset(walker.seen.items()), walker.wants_all
    known = _walks.get(first)
    if known is None or not known.is_current():
        known = _walks[first] = walker.finish()
    return replace(
        known,
        others=known.others | walker.others,
        docstrings=known.docstrings or lookups.docstrings,
        source_text=known.source_text or lookups.source_text,
    )


class _Walker:
    def __init__(self, home: Home) -> None:
        self._home = home
        self._walk = Walk()
        self._waiting: list[Found] = []
        self._entered: dict[str, tuple[list[Import], Lookups]] = {}
        self.seen: dict[str, str] = {}  # names and files
        self.wants_all = False  # who imports what is only known at run time
        self.others = self._walk.others

    def start(self, imports: Iterable[Import], lookups: Lookups, extra: Iterable[str]) -> None:
        """Note the modules that the feature's own module asks for."""
        self._follow(imports, lookups, self._home.package)
        for name in (self._home.package, *extra):
            self._reach(name)

    def finish(self) -> Walk:
        """Follow them until nothing new turns up."""
        is_all = False
        while self._waiting or (self.wants_all and not is_all):
            if self._waiting:
                self._enter(self._waiting.pop())
            else:
                is_all = True
                self._reach_all()
        self._note_what_is_taken()
        return self._walk

    def _enter(self, found: Found) -> None:
        """Cover a module and follow what it imports."""
        text = text_of(found)
        self._walk.modules[found.name], self._walk.texts[found.name] = found, text
        for path in filter(None, (found.file, str(Path(found.file).parent) if found.file else "", *found.folders)):
            self._walk.stamps[path] = stamp(path)
        self._walk.written = max(self._walk.written, written_at(found.file))
        if isinstance(text, bytes):
            return
        source = parsed(text, found.name)
        package = found.name if found.folders else found.name.rpartition(".")[0]
        imports = list(imports_in([s for s in source.statements if not is_script_part(s)], package))
        lookups = source.all_lookups
        self._entered[found.name] = imports, lookups
        self._walk.docstrings |= lookups.docstrings
        self._walk.source_text |= lookups.source_text
        self._follow(imports, lookups, package, found.name)
        if found.folders:
            self._reach_parts(found, lookups.words())

    def _follow(self, imports: Iterable[Import], lookups: Lookups, package: str, whose: str = "") -> None:
        packages: list[Found] = []  # those that the importer holds as objects
        for line in imports:
            around = self._reach(line.module)
            packages += around if not line.names else []
            for name in line.names:
                full = f"{line.module}.{name}"
                packages += [found for found in self._reach(full) if found.name == full]
                if name == "*" and around and around[-1].name == line.module:
                    self._reach_parts(around[-1], _exported_by(around[-1]))
        for name in lookups.imported_texts | set(named_in(lookups.texts, package, whose or self._home.name)):
            packages += self._reach(absolute(name, package))
        known: set[str] = set()
        while packages:
            found = packages.pop()
            if found.name not in known:
                known.add(found.name)
                packages += self._reach_parts(found, lookups.attributes)
        self.wants_all |= lookups.any_module

    def _reach(self, name: str) -> list[Found]:
        """Note a module and the packages around it; returns the own packages among them."""
        parts = name.split(".")
        packages: list[Found] = []
        for count in range(1, len(parts) + 1):
            part = ".".join(parts[:count])
            if not part or (found := find(part)) is None:
                break
            if not self._home.owns(found):
                if not is_standard(parts[0]):
                    self._walk.others.add(parts[0])
                break
            if found.folders:
                packages.append(found)
            if part not in self.seen:
                self.seen[part] = found.file
                if not _same_file(found.file, self._home.file):
                    self._waiting.append(found)
        return packages

    def _reach_parts(self, package: Found, words: Iterable[str]) -> list[Found]:
        """Note the submodules of a package that words may mean."""
        chosen = set(submodules(package)).intersection(words)
        return [found for name in chosen for found in self._reach(f"{package.name}.{name}")]

    def _reach_all(self) -> None:
        """Note every module that a name built at run time may mean."""
        top = find(self._home.top)
        if top is None or not top.folders or not self._home.owns(top):
            folder = Found("", "", (str(Path(self._home.file).parent),), None)
            for name in submodules(folder):
                if (beside := find(name)) and not beside.folders and self._home.owns(beside):
                    self._reach_if_readable(beside)
            return
        waiting, seen = [top], set()
        while waiting:
            package = waiting.pop()
            for name in submodules(package):
                found = find(f"{package.name}.{name}")
                if found is not None and found.name not in seen:
                    seen.add(found.name)
                    self._reach_if_readable(found)
                    waiting += [found] if found.folders else []

    def _reach_if_readable(self, found: Found) -> None:
        try:
            if isinstance(text := text_of(found), str):
                parsed(text, found.name)
        except SourceUnavailable:
            self._walk.stamps[found.file] = stamp(found.file)
            return  # Nobody says that it is imported.
        self._reach(found.name)

    def _note_what_is_taken(self) -> None:
        """Note what the covered modules use of the feature's own, which they may import in turn."""
        own = self._home.name
        holders = {name for name, (imports, lookups) in self._entered.items() if self._may_hold_own(imports, lookups)}
        while more := {
            name
            for name, (imports, _) in self._entered.items()
            if name not in holders and any(not holders.isdisjoint(line.all_names()) for line in imports)
        }:
            holders |= more
        for name, (imports, lookups) in self._entered.items():
            for line in imports:
                if line.module == own and line.names:
                    self._walk.taken.update(line.names)
                    self._walk.takes_all |= "*" in line.names
            self._walk.takes_all |= lookups.foreign_spaces or own in lookups.texts | lookups.imported_texts
            if name in holders:
                self._walk.taken |= lookups.attributes | lookups.words()
                self._walk.takes_all |= lookups.any_name

    def _may_hold_own(self, imports: Iterable[Import], lookups: Lookups) -> bool:
        """Tell whether a module may have the feature's module in its hands as an object."""
        own = self._home.name
        _, dot, last = own.rpartition(".")
        if any(own in ([f"{line.module}.{name}" for name in line.names] or [line.module]) for line in imports):
            return True
        return bool(dot) and last in lookups.attributes | lookups.names | lookups.texts


def _exported_by(package: Found) -> Iterable[str]:
    """Return words among which are all submodules that a star takes from a package."""
    text = text_of(package)
    if not isinstance(text, str):
        return submodules(package)
    source = parsed(text, package.name)
    return source.all_lookups.words() if source.exports_what_is_written() else submodules(package)


def _same_file(one: str, other: str) -> bool:
    return bool(one) and (one == other or Path(one).resolve() == Path(other).resolve())
