"""The texts of modules as they lie on disk now, parsed once for each text of a process."""

from __future__ import annotations

import importlib.util
import linecache
import os
import time
from collections import OrderedDict
from collections.abc import Mapping
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from typing import Any

from fstore.features.source.module_source import ModuleSource
from fstore.features.source.own_code import Found

# A file written to a moment ago may be written to again without a new time stamp.
_SETTLED_NS = 2_000_000_000
_MOST_TEXTS = 2_000
_NO_TIME_BEFORE = 315_705_600  # 1980-01-03: images and archives that keep no times have 1970 or 1980

_parsed: OrderedDict[str, ModuleSource] = OrderedDict()
_texts: dict[str, tuple[Any, str]] = {}


class SourceUnavailable(Exception):
    """The text of a function or module cannot be read, or is not the text of the code that runs."""


def own_text(file: str, names: Mapping[str, Any]) -> str:
    """Read the text of a function's module.

    It is its file, or what a loader, an interactive shell or a debugger knows.
    """
    text = _text_of_file(file)
    if text is None:
        linecache.checkcache(file)
        text = "".join(linecache.getlines(file, dict(names)))
    if not text.strip():
        raise SourceUnavailable(f"{file} has no text")
    return text


def text_of(found: Found) -> str | bytes:
    """Read the text of a module that a feature imports; the bytes of one that was compiled ahead."""
    if not found.file:
        return ""
    try:
        if found.file.endswith((*EXTENSION_SUFFIXES, ".pyc")):
            return Path(found.file).read_bytes()[16 if found.file.endswith(".pyc") else 0 :]
        text = _text_of_file(found.file)
        if text is None:
            text = found.loader.get_source(found.name)
    except (OSError, ImportError, AttributeError, SyntaxError, ValueError) as exc:
        raise SourceUnavailable(f"{found.name} cannot be read: {exc}") from exc
    if text is None:
        raise SourceUnavailable(f"{found.name} has no text")
    return text


def parsed(text: str, name: str) -> ModuleSource:
    """Parse a module's text, or return what was parsed before.

    ``name`` says whose it is if it does not parse.
    """
    known = _parsed.get(text)
    if known is None:
        try:
            known = ModuleSource(text)
        except (SyntaxError, ValueError, RecursionError, MemoryError, SystemError) as exc:
            raise SourceUnavailable(f"{name} does not parse: {exc}") from exc
        _parsed[text] = known
        if len(_parsed) > _MOST_TEXTS:
            _parsed.popitem(last=False)
    return known


def stamp(path: str) -> tuple[int, ...] | None:
    """Return what changes when a file, a folder or the archive around it changes.

    None while that is not sure yet.
    """
    place = Path(path)
    for candidate in (place, *place.parents):
        try:
            seen = candidate.stat()
        except OSError:
            continue
        if abs(time.time_ns() - seen.st_ctime_ns) < _SETTLED_NS:
            return None
        return seen.st_dev, seen.st_ino, seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns
    return None


def written_at(file: str) -> float:
    """Return when a file was last written, in seconds since 1970.

    0 when there is none, or its time says nothing.
    """
    try:
        written = Path(file).stat().st_mtime if file else 0.0
    except (OSError, ValueError):
        return 0.0
    return written if written > _NO_TIME_BEFORE else 0.0


def _text_of_file(file: str) -> str | None:
    if not os.path.isfile(file):  # noqa: PTH113 names like <stdin> are no paths
        return None
    seen = stamp(file)
    known = _texts.get(file)
    if known is not None and seen is not None and known[0] == seen:
        return known[1]
    try:
        text = importlib.util.decode_source(Path(file).read_bytes())
    except (OSError, SyntaxError, UnicodeError) as exc:
        raise SourceUnavailable(f"{file} cannot be read: {exc}") from exc
    if seen is not None and stamp(file) == seen:
        _texts[file] = (seen, text)
    return text
