"""Features computed in the calling process: any callable, named by hand, by its place, or by what it is."""

from __future__ import annotations

import logging
import re
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields, replace
from types import FunctionType
from typing import Any, Self, overload

from blake3 import blake3

from fstore.errors import FeatureNotRegistered
from fstore.features.coverage import Source, source_of
from fstore.features.declarations import (
    SOURCE_PREFIX,
    Feature,
    InputKind,
    checked_input,
    checked_track,
    checked_version,
)
from fstore.features.held import own_modules
from fstore.features.held.library_values import Untellable
from fstore.features.held.values import held_digest
from fstore.features.libraries import library_versions, with_libraries
from fstore.features.lookup import MAIN_NAMES, core_function, has_text, look_up, name_of
from fstore.features.names import LOCAL_MODULE, describe, signature_fault
from fstore.features.source.digest import SourceUnavailable, Track

PREFIX = f"{LOCAL_MODULE}:"
log = logging.getLogger("fstore.local_features")
_LEFT_OPEN = ("name", "version", "source_digest")
_DIGESTED = re.compile(r".*#[0-9a-f]{32}", re.DOTALL)
_sources: dict[tuple[str, str], tuple[str, InputKind]] = {}
_warned: set[tuple[str, str]] = set()
_guard = threading.Lock()
_NOTHING: Any = object()


@dataclass(frozen=True, slots=True)
class Wrapping:
    """What was said when a callable was wrapped."""

    name: str | None
    version: str | None


@dataclass(frozen=True, slots=True)
class LocalFeature(Feature):
    """A feature only its own process can compute; its name begins with ``local:``, so its keys are its own.

    It is called like the function it was made of. Name and version are worked
    out when they are first needed: while a decorator runs, the function has no
    place in its module yet, nor have the functions below it that it calls.
    """

    wrapping: Wrapping = field(kw_only=True, repr=False, compare=False)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function itself, past the cache."""
        return self.func(*args, **kwargs)

    def __getattr__(self, attribute: str) -> Any:
        """Work out what was left open when the function was wrapped."""
        if attribute not in _LEFT_OPEN:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {attribute!r}")
        made = _worked_out(self)
        _compare_sources(self, *made)
        for each, value in zip(_LEFT_OPEN, made, strict=True):
            object.__setattr__(self, each, value)
        return object.__getattribute__(self, attribute)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle what stands in its function's place by that place, as pickle does functions."""
        module, qualname = getattr(self.func, "__module__", None), getattr(self.func, "__qualname__", "")
        if look_up(module, qualname) is self:
            return look_up, (module, qualname)
        return _opened, ({each.name: getattr(self, each.name) for each in fields(self) if each.name not in _LEFT_OPEN},)

    def current(self) -> Self:
        """Return the record for what the callable holds and looks up now; itself when that is as it was."""
        known = tuple(getattr(self, each) for each in _LEFT_OPEN)
        fresh = self
        if self.source.loaded.has_changed() and (core := core_function(self.func)) is not None:
            fresh = replace(self, source=_read_again(self, core))
        now = _worked_out(fresh, known_digest=known[-1] if fresh is self else None)
        name, version, digest = now
        return self if now == known else replace(fresh, name=name, version=version, source_digest=digest)

    def require_unchanged(self) -> None:
        """Raise ``FeatureNotRegistered`` when what the callable holds or looks up changed since it was asked for."""
        if self.current() is not self:
            raise FeatureNotRegistered(
                self.name, "what it holds or looks up changed between the request and the computation; ask again"
            )

    def require_same_modules(self) -> None:
        """Raise ``FeatureNotRegistered`` when the callable just ran with other modules than were digested."""
        super(LocalFeature, self).require_same_modules()  # slots make the class anew, which super() alone does not know
        try:
            own_modules.check_new()
        except SourceUnavailable as exc:
            raise FeatureNotRegistered(self.name, f"it ran with other code than was digested: {exc}") from exc

    def held_content(self) -> list[Any]:
        """Tell what counts when another callable looks this one up."""
        return [self.func]


@overload
def local(
    func: Callable[..., Any],
    *,
    version: str | None = None,
    name: str | None = None,
    input: InputKind = "pandas",
    track: Track = "package",
    libraries: Sequence[str] = (),
) -> LocalFeature: ...
@overload
def local(
    *,
    version: str | None = None,
    name: str | None = None,
    input: InputKind = "pandas",
    track: Track = "package",
    libraries: Sequence[str] = (),
) -> Callable[[Callable[..., Any]], LocalFeature]: ...
def local(
    func: Any = _NOTHING,
    *,
    version: str | None = None,
    name: str | None = None,
    input: InputKind = "pandas",
    track: Track = "package",
    libraries: Sequence[str] = (),
) -> Any:
    """Wrap any callable so that it is computed in this process, under the rules of the shared cache.

    Also a decorator, ``@fstore.local`` or ``@fstore.local(version="1")``; what
    it returns is called like the function. Everybody who uses the same name and
    version shares results. A function that its module and name lead to has that
    name. Any other (lambda, closure, partial, object, whatever a script or
    notebook defines) is named by a digest of its code, of the values it holds
    and of the globals it looks up, as they are at each request; where those
    cannot be told, ``name`` is required. Without ``version`` the digest of the
    source is the version, of what such a callable holds as well. ``track`` and
    ``libraries`` are those of ``fstore.feature``.
    """
    if func is _NOTHING:
        return lambda below: local(below, version=version, name=name, input=input, track=track, libraries=libraries)
    if isinstance(func, LocalFeature):
        func = func.func
    if not callable(func):
        raise FeatureNotRegistered(describe(func), "fstore.local takes a function or another callable")
    if fault := signature_fault(func):
        raise FeatureNotRegistered(describe(func), fault)
    given = _checked_name(name, func) if name is not None else None
    shown = f"{PREFIX}{given or describe(func)}"
    declared = checked_version(version, shown) if version is not None else None
    reach = checked_track(track, shown)
    core = core_function(func)
    source = source_of(core, reach) if core is not None else Source()
    if version is None and source.fault and not (core is not None and has_text(core)):
        raise FeatureNotRegistered(
            shown,
            "its source cannot be read (a REPL, exec, a compiled callable, or a file that changed since), so it needs a "
            'version by hand: fstore.local(func, version="1")',
        )
    made = _opened({
        "func": func,
        "explicit": version is not None,
        "input": checked_input(input, shown),
        "source_time": source.written,
        "track": reach,
        "libraries": library_versions(libraries, shown),
        "source": source,
        "wrapping": Wrapping(given, declared),
    })  # fmt: skip
    if not _may_get_its_place(func):
        made.current()
    return made


def _opened(said: dict[str, Any]) -> LocalFeature:
    """Make a feature whose name, version and digest are worked out when they are first needed."""
    made = LocalFeature(name="", version="", source_digest="", **said)
    for each in _LEFT_OPEN:
        object.__delattr__(made, each)
    return made


def _may_get_its_place(func: Callable[..., Any]) -> bool:
    """Tell what may stand below a decorator at the top of a module, whose name is bound in a moment."""
    qualname = getattr(func, "__qualname__", "<")
    return "<" not in qualname and look_up(func.__module__, qualname) is not func


def _checked_name(name: str, func: Callable[..., Any]) -> str:
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


def _read_again(feature: LocalFeature, core: FunctionType) -> Source:
    """Take the source anew after other modules of it were loaded again, or edited before they were first imported."""
    source = source_of(core, feature.track)
    if source.fault and not feature.source.fault and feature.wrapping.version is None:
        raise FeatureNotRegistered(describe(feature.func), f"its source cannot be read any more: {source.fault}")
    if source.digest != feature.source.digest:
        source.loaded.mixed = feature.source.loaded.mixed_after(feature.source.loaded.loaded_again())
    return source


def _worked_out(feature: LocalFeature, known_digest: str | None = None) -> tuple[str, str, str]:
    """Return name, version and source digest; one that is known is kept where only a warning would need it anew."""
    func, said = feature.func, feature.wrapping
    place = name_of(func)
    # Its text is all there is to it, by the rule of registered functions.
    is_plain = bool(place and feature.source.digest and isinstance(func, FunctionType) and core_function(func) is func)
    is_plain = is_plain and not func.__closure__
    in_key = (said.name is None and place is None) or (said.version is None and not is_plain)
    held = ""
    if in_key or (known_digest is None and not is_plain):
        try:
            held = held_digest(func)
        except Untellable as exc:
            if in_key:
                raise _untold(func, said, str(exc)) from exc
    # What the function is given is part of what it does.
    shape = "" if feature.input == "pandas" else feature.input
    name = said.name or (":".join(place) if place else f"{_without_mp(describe(func))}#{_together(held, shape)[:32]}")
    together = _together(feature.source.digest, held, shape)
    # Compiled code is compared among equal interpreters only.
    digest = f"{sys.implementation.cache_tag}:{together}" if held else together
    if known_digest is not None and not in_key and not is_plain:
        digest = known_digest
    version = with_libraries(said.version or f"{SOURCE_PREFIX}{together[:32]}", feature.libraries)
    return f"{PREFIX}{name}", version, digest


def _together(*digests: str) -> str:
    known = [digest for digest in digests if digest]
    return blake3("+".join(known).encode()).hexdigest() if len(known) > 1 else "".join(known)


def _without_mp(described: str) -> str:
    """Children that multiprocessing spawns know the script by another name."""
    main, mp_main = MAIN_NAMES
    return described.replace(f"{mp_main}:", f"{main}:", 1) if described.startswith(mp_main) else described


def _untold(func: Callable[..., Any], said: Wrapping, hidden: str) -> FeatureNotRegistered:
    chosen = f"fstore.local(func, version={said.version or '1'!r}, name={said.name or 'what_it_is'!r})"
    return FeatureNotRegistered(
        describe(func),
        f"it holds values whose content cannot be told ({hidden}), so two of its kind would share one name or version; "
        f"give it a name and a version of your own: {chosen}",
    )


def _compare_sources(feature: LocalFeature, name: str, version: str, digest: str) -> None:
    """Warn once when one name and version stand for two sources in this process, as joblib does; refuse two inputs."""
    kind = feature.input
    if not feature.explicit or _DIGESTED.fullmatch(name):
        return  # the digest tells them apart
    mark = (name, version)
    with _guard:
        known, known_kind = _sources.setdefault(mark, (digest, kind))
        if known_kind != kind:
            raise FeatureNotRegistered(
                name,
                f"it was wrapped before with input={known_kind!r}; what differs in input= needs a name= of its own",
            )
        _sources[mark] = digest, kind
        if known == digest or mark in _warned:
            return
        _warned.add(mark)
    log.warning(
        "two functions share the name %s and version %r, or the source of one changed: they share their results; "
        "choose another name=, or raise version= if they differ in numbers",
        name,
        version,
    )
