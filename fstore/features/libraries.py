"""Versions of installed libraries: those that a feature declares are a part of its version."""

from __future__ import annotations

import importlib.metadata
import re
from collections.abc import Iterable, Mapping
from functools import cache

from blake3 import blake3

from fstore.errors import ConfigurationError

_MOST_CHARACTERS = 64
_WRITTEN = re.compile(r"\[[^\[\]]*==[^\[\]]*\]$")


def declared_versions(libraries: Iterable[str], feature: str) -> tuple[tuple[str, str], ...]:
    """Look up the installed versions of distributions, sorted.

    They are given by their own or by their import names. Raises ``ConfigurationError``
    that names what is not installed.
    """
    if isinstance(libraries, str) or not isinstance(libraries, Iterable):
        raise ConfigurationError([f'{feature}: libraries must be a list of names, such as libraries=["ta", "numba"]'])
    found: dict[str, str] = {}
    faults: list[str] = []
    for name in libraries:
        versions = {canonical(n): v for n, v in installed(name).items()} if isinstance(name, str) else {}
        found |= versions
        if not versions:
            faults.append(
                f"{feature}: the library {name!r:.100} is not installed here, so its version is not known; install it, or take "
                "it out of libraries="
            )
    if faults:
        raise ConfigurationError(faults)
    return tuple(sorted(found.items()))


def with_libraries(version: str, libraries: tuple[tuple[str, str], ...]) -> str:
    """Add library versions to a version: readable, or as a digest where that would be too long."""
    if not libraries:
        return version
    written = ",".join(f"{name}=={installed}" for name, installed in libraries)
    readable = f"{version} [{written}]"
    if len(readable) <= _MOST_CHARACTERS and readable.isprintable():
        return readable
    digest = blake3(f"{len(version)}:{version}{written}".encode("utf-8", "surrogatepass")).hexdigest()
    return f"{version[:17]} [libraries=={digest[:32]}]"


def names_libraries(version: str) -> bool:
    """Tell whether a declared version has the form that only ``with_libraries`` may give it."""
    return _WRITTEN.search(version) is not None


def installed(name: str) -> Mapping[str, str]:
    """Return the versions of the distributions of this name.

    Or else of those that a module of this name comes from.
    """
    version = installed_version(name)
    if version is not None:
        return {name: version}
    owners = distributions_by_import_name().get(name.partition(".")[0], ())
    return {owner: known for owner in sorted(set(owners)) if (known := installed_version(owner)) is not None}


def installed_version(name: str) -> str | None:
    """Return the version of a distribution in this environment, or None when it is not installed."""
    try:
        return importlib.metadata.version(name)
    except (importlib.metadata.PackageNotFoundError, ValueError):
        return None


@cache
def distributions_by_import_name() -> Mapping[str, list[str]]:
    """Tell which distributions each top-level name comes from."""
    return importlib.metadata.packages_distributions()


def canonical(name: str) -> str:
    """Write a distribution's name in the one form in which names are compared."""
    return re.sub(r"[-_.]+", "-", name).lower()
