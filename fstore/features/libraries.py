"""Versions of the libraries that a feature declares, as a part of its version."""

from __future__ import annotations

import importlib.metadata
import re
from collections.abc import Iterable

from blake3 import blake3

from fstore.errors import ConfigurationError

_MOST_CHARACTERS = 64
_WRITTEN = re.compile(r"\[[^\[\]]*==[^\[\]]*\]$")


def library_versions(libraries: Iterable[str], feature: str) -> tuple[tuple[str, str], ...]:
    """Look up the installed versions of distributions, given by their own or by their import names, sorted.

    Raises ``ConfigurationError`` that names what is not installed.
    """
    if isinstance(libraries, str) or not isinstance(libraries, Iterable):
        raise ConfigurationError([f'{feature}: libraries must be a list of names, such as libraries=["ta", "numba"]'])
    found: dict[str, str] = {}
    faults: list[str] = []
    for name in libraries:
        versions = _versions(name) if isinstance(name, str) else {}
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


def _versions(name: str) -> dict[str, str]:
    try:
        found = importlib.metadata.distribution(name)
    except (importlib.metadata.PackageNotFoundError, ValueError):
        owners = importlib.metadata.packages_distributions().get(name.partition(".")[0], [])
        return {_canonical(owner): importlib.metadata.version(owner) for owner in owners}
    return {_canonical(found.name or name): found.version}


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
