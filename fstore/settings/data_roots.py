"""Folders that raw data may be read from, and the names by which all hosts know them.

``ticks=/mnt/ticks`` gives a folder a name. What lies in it travels as ``ticks:2024/es.parquet``,
so that hosts that mount it in different places, or run different systems, speak of one file.
A folder without a name is the same path everywhere, and travels as it is; so does an address in a bucket.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePath

from fstore.model import ObjectUrl

# Two characters at least, for 'C:...' is a drive; and a folder that is absolute, for 'year=2024' is one itself.
_GIVEN = re.compile(r"([A-Za-z][\w-]+)=((?:[/~\\]|[A-Za-z]:[/\\]).*)", re.ASCII | re.DOTALL)
_SENT = re.compile(r"([A-Za-z][\w-]+):(.*)", re.ASCII | re.DOTALL)


@dataclass(frozen=True, slots=True)
class NamedRoot:
    """A folder with a name that means the same on every host; where it lies may differ."""

    name: str
    folder: Path

    def __str__(self) -> str:
        return f"{self.name}={self.folder}"


DataRoot = Path | NamedRoot | ObjectUrl


def split_name(text: str) -> tuple[str, str] | None:
    """Return name and folder of ``name=/folder``, or None for a folder without a name."""
    found = _GIVEN.fullmatch(text)
    return (found[1], found[2]) if found else None


def folder_of(root: DataRoot) -> Path | None:
    """Return where a root lies on this host, None for one in a bucket."""
    if isinstance(root, ObjectUrl):
        return None
    return root.folder if isinstance(root, NamedRoot) else root


def urls_of(roots: Iterable[DataRoot]) -> list[ObjectUrl]:
    """Return the roots that are prefixes of buckets."""
    return [root for root in roots if isinstance(root, ObjectUrl)]


def sent_path(path: PurePath, roots: Iterable[DataRoot]) -> str:
    """Write a path of this host as every host understands it, with slashes.

    By the innermost named root that holds it.
    """
    named = [root for root in roots if isinstance(root, NamedRoot)]
    for root in sorted(named, key=lambda root: len(root.folder.parts), reverse=True):
        for given, folder in ((path, root.folder), *_resolved(path, root.folder)):
            if ".." not in given.parts and given.is_relative_to(folder):
                return f"{root.name}:{given.relative_to(folder).as_posix()}"
    return path.as_posix()


def path_here(sent: str, roots: Iterable[DataRoot]) -> Path | None:
    """Return where a path that was sent lies on this host.

    None when it names a root that this host does not know.
    """
    found = _SENT.fullmatch(sent)
    if found is None:
        return Path(sent)
    folder = next((root.folder for root in roots if isinstance(root, NamedRoot) and root.name == found[1]), None)
    return None if folder is None else folder / found[2]


def _resolved(path: PurePath, folder: Path) -> list[tuple[PurePath, Path]]:
    return [(path.resolve(), folder.resolve())] if isinstance(path, Path) else []
