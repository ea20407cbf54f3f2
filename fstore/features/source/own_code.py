"""Which modules are a feature's own code, and where they lie; nothing is imported to find out.

Own are the modules of the same top-level package, of the same distribution,
and of the same entry of ``sys.path`` or any other folder that no installed
distribution owns. The standard library, other distributions and fstore are not.
"""

from __future__ import annotations

import os
import sys
import sysconfig
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from fstore.features.libraries import distributions_by_import_name

FSTORE = frozenset({"fstore", "workers", "beat"})
_SHARED_FOLDERS = frozenset({"site-packages", "dist-packages"})


@dataclass(frozen=True, slots=True)
class Found:
    """A module that could be imported.

    ``file`` is empty for a namespace package, ``folders`` for all but packages.
    """

    name: str
    file: str
    folders: tuple[str, ...]
    loader: Any


@dataclass(frozen=True, slots=True)
class Home:
    """Where a feature's module belongs.

    Its name, its package, and the folder or archive it is imported from.
    """

    name: str
    package: str
    file: str
    root: str

    @property
    def top(self) -> str:
        """The top-level name."""
        return self.name.partition(".")[0]

    def owns(self, found: Found) -> bool:
        """Tell whether a module is own code of the feature."""
        top = found.name.partition(".")[0]
        if top in FSTORE or not self.name:
            return False
        if top == self.top:
            return True
        places = [found.file] if found.file else list(found.folders)
        if not places or any(_is_standard(place) for place in places):
            return False
        if any(_is_installed(place) for place in places):
            return _is_installed(self.root) and _share_distribution(top, self.top)
        if all(_root_of(place, found.name) == self.root for place in places):
            return True
        return top not in distributions_by_import_name() or _share_distribution(top, self.top)


@dataclass(frozen=True, slots=True)
class _Anywhere(Home):
    """No module's: own is whatever is no library."""

    def owns(self, found: Found) -> bool:
        places = [found.file] if found.file else list(found.folders)
        if found.name.partition(".")[0] in FSTORE or not places:
            return False
        return not any(_is_standard(place) or _is_installed(place) for place in places)


UNINSTALLED = _Anywhere("", "", "", "")


def home_of(names: Mapping[str, Any], file: str) -> Home:
    """Find the home of the module with these globals."""
    spec = names.get("__spec__")
    name = str(getattr(spec, "name", None) or names.get("__name__") or "")
    if name.startswith("__"):  # A script belongs to its folder, under the name that workers import it by.
        name = Path(file).stem
    is_package = Path(file).stem == "__init__"
    package = name if is_package else name.rpartition(".")[0]
    return Home(name, package, file, _root_of(file, name))


def find(name: str) -> Found | None:
    """Find a module by its full name as the import system would, without importing it or its parents."""
    loaded = sys.modules.get(name)
    if loaded is not None:
        spec = getattr(loaded, "__spec__", None)
        if getattr(spec, "name", None) == name:
            return _found(name, spec)
    parent, _, _ = name.rpartition(".")
    folders = None
    if parent:
        above = find(parent)
        if above is None or not above.folders:
            return None
        folders = list(above.folders)
    for finder in sys.meta_path:
        try:
            spec = finder.find_spec(name, folders, None)
        except Exception:  # noqa: S112 a finder of somebody's; the import would tell
            continue
        if spec is not None:
            return _found(name, spec)
    return None


def submodules(found: Found) -> list[str]:
    """List the names of a package's modules."""
    names: set[str] = set()
    for folder in found.folders:
        try:
            entries = list(os.scandir(folder))
        except OSError:
            continue
        for entry in entries:
            name = entry.name.partition(".")[0]
            ends = entry.name.endswith((".py", ".pyc", ".so", ".pyd"))
            if name.isidentifier() and (ends or (entry.is_dir() and "." not in entry.name and name != "__pycache__")):
                names.add(name)
    return sorted(names - {"__init__"})


def is_standard(name: str) -> bool:
    """Tell whether a top-level name is the standard library's."""
    return name in sys.stdlib_module_names


def _found(name: str, spec: Any) -> Found:
    folders = tuple(spec.submodule_search_locations or ())
    has_file = spec.origin and spec.origin not in {"built-in", "frozen", "namespace"}
    return Found(name, str(spec.origin) if has_file else "", folders, spec.loader)


@cache
def _root_of(place: str, name: str) -> str:
    """Return the folder on ``sys.path`` below which a module of this name lies."""
    path, parts = Path(os.path.realpath(place)), name.split(".")
    bare = path.parent if path.stem == "__init__" else path.with_name(path.name.partition(".")[0])
    if bare.parts[-len(parts) :] == tuple(parts):
        return str(bare.parents[len(parts) - 1])
    return str(path.parent)


@cache
def _is_installed(place: str) -> bool:
    return not _SHARED_FOLDERS.isdisjoint(Path(place).parts)


@cache
def _is_standard(place: str) -> bool:
    return not _is_installed(place) and Path(os.path.realpath(place)).is_relative_to(_standard_folder())


@cache
def _standard_folder() -> str:
    return os.path.realpath(sysconfig.get_paths()["stdlib"])


def _share_distribution(one: str, other: str) -> bool:
    known = distributions_by_import_name()
    return not set(known.get(one, ())).isdisjoint(known.get(other, ()))
