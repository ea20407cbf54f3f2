"""Faces of packages: each name is loaded, with its module, when it is first asked for."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any


def names(package: str, modules: Mapping[str, str]) -> Callable[[str], Any]:
    """Return the ``__getattr__`` of a package that gives names of its modules (PEP 562).

    ``modules`` maps each module of the package to the names it gives, separated by blanks. Who
    imports one name loads one module, so that a face costs nothing: a trainer that only reads
    entries never loads what sends tasks.
    """
    home = {name: f"{package}.{module}" for module, given in modules.items() for name in given.split()}

    def load(name: str) -> Any:
        if name not in home:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(importlib.import_module(home[name]), name)
        setattr(importlib.import_module(package), name, value)  # the next look finds it without asking
        return value

    return load
