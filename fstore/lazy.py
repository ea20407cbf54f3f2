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


def functions(package: str, given: str) -> dict[str, Callable[..., Any]]:
    """Return stand-ins for functions of a package by name, which load the package when they are called.

    For what few processes ever call; ``given`` are their names, separated by blanks.
    """

    def stand_in(name: str) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            return getattr(importlib.import_module(package), name)(*arguments, **named)

        return call

    return {name: stand_in(name) for name in given.split()}
