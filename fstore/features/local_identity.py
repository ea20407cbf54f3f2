"""The name, version and source digest of a local feature.

Each is said by hand, or follows from the place of the callable, or from what it is.
"""

from __future__ import annotations

import logging
import re
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from types import FunctionType
from typing import Any, NamedTuple

from blake3 import blake3

from fstore.errors import FeatureNotRegistered
from fstore.features.coverage import Source
from fstore.features.declarations import SOURCE_PREFIX, InputKind
from fstore.features.held.digests import changes_digest, held_digest
from fstore.features.held.library_values import Untellable
from fstore.features.libraries import with_libraries
from fstore.features.lookup import MAIN_NAMES, core_function, look_up, name_of
from fstore.features.names import LOCAL_MODULE, describe
from fstore.features.outside.changes import changes_from_outside

LOCAL_PREFIX = f"{LOCAL_MODULE}:"
log = logging.getLogger("fstore.local_features")
_DIGESTED = re.compile(r".*#[0-9a-f]{32}", re.DOTALL)
_sources: dict[tuple[str, str], tuple[str, InputKind]] = {}
_warned: set[tuple[str, str]] = set()
_guard = threading.Lock()


@dataclass(frozen=True, slots=True)
class Wrapping:
    """What was said when a callable was wrapped."""

    name: str | None
    version: str | None


class LocalIdentity(NamedTuple):
    """What tells a local feature from every other; its name and version enter keys."""

    name: str
    version: str
    source_digest: str


def checked_name(name: str, func: Callable[..., Any]) -> str:
    """Return a name given by hand.

    Raises ``FeatureNotRegistered`` for one that is another's or not fit to be one.
    """
    if not isinstance(name, str) or not 1 <= len(name) <= 200 or not name.isprintable():
        raise FeatureNotRegistered(f"{name!r:.40}", "a local feature's name has 1 to 200 printable characters")
    if _DIGESTED.fullmatch(name):
        raise FeatureNotRegistered(
            name, "names that end in '#' and 32 hex digits are made by fstore; choose another name"
        )
    module, _, qualname = name.partition(":")
    other = look_up(module, qualname) if qualname else None
    if other is not None and name_of(other) == (module, qualname) and getattr(other, "func", other) is not func:
        raise FeatureNotRegistered(name, f"it is the name of {module}.{qualname}, another object; choose another name")
    return name


def identify_local(
    func: Callable[..., Any],
    said: Wrapping,
    *,
    input: InputKind,
    libraries: tuple[tuple[str, str], ...],
    source: Source,
    known_digest: str | None = None,
) -> LocalIdentity:
    """Work out name, version and source digest.

    One that is known is kept where only a warning would need it anew.
    """
    place = name_of(func)
    # Its text is all there is to it, by the rule of registered functions.
    is_plain = bool(place and source.digest and isinstance(func, FunctionType) and core_function(func) is func)
    is_plain = is_plain and not func.__closure__
    in_key = (said.name is None and place is None) or (said.version is None and not is_plain)
    held = ""
    if in_key or (known_digest is None and not is_plain):
        try:
            held = held_digest(func)
        except Untellable as exc:
            if in_key:
                raise _untold(func, said, str(exc)) from exc
    outside = ""
    if is_plain and (changes := changes_from_outside(source.loaded)):
        try:
            outside = changes_digest(changes)
        except Untellable as exc:
            raise _set_from_outside(func, str(exc)) from exc
    # What the function is given is part of what it does.
    shape = "" if input == "pandas" else input
    name = said.name or (":".join(place) if place else f"{_without_mp(describe(func))}#{_together(held, shape)[:32]}")
    together = _together(source.digest, held, outside, shape)
    # Compiled code is compared among equal interpreters only.
    digest = f"{sys.implementation.cache_tag}:{together}" if held else together
    if known_digest is not None and not in_key and not is_plain:
        digest = known_digest
    version = with_libraries(said.version or f"{SOURCE_PREFIX}{together[:32]}", libraries)
    return LocalIdentity(f"{LOCAL_PREFIX}{name}", version, digest)


def compare_sources(found: LocalIdentity, *, explicit: bool, input: InputKind) -> None:
    """Warn once when one name and version stand for two sources in this process, as joblib does.

    Refuse two inputs.
    """
    name, version, digest = found
    if not explicit or _DIGESTED.fullmatch(name):
        return  # the digest tells them apart
    mark = (name, version)
    with _guard:
        known, known_kind = _sources.setdefault(mark, (digest, input))
        if known_kind != input:
            raise FeatureNotRegistered(
                name,
                f"it was wrapped before with input={known_kind!r}; what differs in input= needs a name= of its own",
            )
        _sources[mark] = digest, input
        if known == digest or mark in _warned:
            return
        _warned.add(mark)
    log.warning(
        "two functions share the name %s and version %r, or the source of one changed: they share their results; "
        "choose another name=, or raise version= if they differ in numbers",
        name,
        version,
    )


def _together(*digests: str) -> str:
    known = [digest for digest in digests if digest]
    return blake3("+".join(known).encode()).hexdigest() if len(known) > 1 else "".join(known)


def _without_mp(described: str) -> str:
    """Children that multiprocessing spawns know the script by another name."""
    main, mp_main = MAIN_NAMES
    return described.replace(f"{mp_main}:", f"{main}:", 1) if described.startswith(mp_main) else described


def _set_from_outside(func: Callable[..., Any], hidden: str) -> FeatureNotRegistered:
    return FeatureNotRegistered(
        describe(func),
        f"what was set in its module from outside cannot be told ({hidden}), so its results would be taken for those of the "
        "module as its text says; put it back, or pass what varies in the config",
    )


def _untold(func: Callable[..., Any], said: Wrapping, hidden: str) -> FeatureNotRegistered:
    chosen = f"fstore.local(func, version={said.version or '1'!r}, name={said.name or 'what_it_is'!r})"
    return FeatureNotRegistered(
        describe(func),
        f"it holds values whose content cannot be told ({hidden}), so two of its kind would share one name or version; "
        f"give it a name and a version of your own: {chosen}",
    )
