"""Features computed in the calling process.

Any callable may be one, named by hand, by its place, or by what it is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields, replace
from types import FunctionType
from typing import Any, Self, overload

from fstore.errors import FeatureNotRegistered
from fstore.features.coverage import Source, source_of
from fstore.features.declarations import (
    Feature,
    InputKind,
    checked_input,
    checked_track,
    checked_version,
)
from fstore.features.held import own_modules
from fstore.features.held.bindings import Bindings, look_at_running
from fstore.features.libraries import declared_versions
from fstore.features.local_identity import (
    LOCAL_PREFIX,
    LocalIdentity,
    Wrapping,
    checked_name,
    compare_sources,
    identify_local,
)
from fstore.features.lookup import core_function, has_text, look_up, name_of
from fstore.features.names import describe, signature_fault
from fstore.features.partitioning import Sessions, checked_partitioning
from fstore.features.source.digest import SourceUnavailable, Track

_LEFT_OPEN = LocalIdentity._fields
_NOTHING: Any = object()


@dataclass(frozen=True, slots=True, repr=False)
class LocalFeature(Feature):
    """A feature only its own process can compute.

    Its name begins with ``local:``, so its keys are its own. It is called like the
    function it was made of. Name and version are worked out when they are first needed:
    while a decorator runs, the function has no place in its module yet, nor have the
    functions below it that it calls.
    """

    wrapping: Wrapping = field(kw_only=True, repr=False, compare=False)

    def __repr__(self) -> str:
        """Name it, and its version once that was needed.

        A look must not work out too early what is left open.
        """
        try:
            version = object.__getattribute__(self, "version")
        except AttributeError:
            return f"LocalFeature({describe(self.func)!r})"
        return f"LocalFeature({self.name!r}, version={version!r})"

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function itself, past the cache."""
        return self.func(*args, **kwargs)

    def __getattr__(self, attribute: str) -> Any:
        """Work out what was left open when the function was wrapped."""
        if attribute not in _LEFT_OPEN:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {attribute!r}")
        made = _identity_of(self)
        compare_sources(made, explicit=self.explicit, input=self.input)
        for each, value in zip(_LEFT_OPEN, made, strict=True):
            object.__setattr__(self, each, value)
        return object.__getattribute__(self, attribute)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle what stands in its function's place by that place, as pickle does functions."""
        module, qualname = getattr(self.func, "__module__", None), getattr(self.func, "__qualname__", "")
        if look_up(module, qualname) is self:
            return look_up, (module, qualname)
        said = {each.name: getattr(self, each.name) for each in fields(self) if each.name not in _LEFT_OPEN}
        return _arrived, ({name: value for name, value in said.items() if name not in {"source", "source_time"}},)

    def current(self) -> Self:
        """Return the record for what the callable holds and looks up now; itself when that is as it was."""
        look_at_running()
        known = tuple(getattr(self, each) for each in _LEFT_OPEN)
        fresh = self
        if self.source.loaded.has_changed() and (core := core_function(self.func)) is not None:
            fresh = replace(self, source=_read_again(self, core))
        now = _identity_of(fresh, known_digest=known[-1] if fresh is self else None)
        return self if now == known else replace(fresh, **now._asdict())

    def require_unchanged(self) -> None:
        """Raise ``FeatureNotRegistered`` when what the callable holds or looks up has changed.

        That is, since the request was made.
        """
        if self.current() is not self:
            raise FeatureNotRegistered(
                self.name, "what it holds or looks up changed between the request and the computation; ask again"
            )

    def watch(self) -> Callable[[], str]:
        """Note what the callable finds now, where that is part of its name or version."""
        said = self.wrapping
        if said.version is not None and (said.name is not None or name_of(self.func) is not None):
            return str
        return Bindings(self.func).rebound

    def require_same_modules(self) -> None:
        """Raise ``FeatureNotRegistered`` when the callable just ran with other modules than were digested."""
        super(LocalFeature, self).require_same_modules()  # slots make the class anew, which super() alone does not know
        try:
            own_modules.check_new()
        except SourceUnavailable as exc:
            raise FeatureNotRegistered(self.name, f"it ran with other code than was digested: {exc}") from exc

    def require_own_values(self) -> None:
        """What is set from outside counts here, at each request."""

    def set_here(self) -> tuple[str, ...]:
        """What is set from outside is part of its version."""
        return ()

    def require_as_written(self) -> None:
        """It is computed where it is asked for."""

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
    partition: str | Sessions | None = None,
    lookback: Any = 0,
    lookahead: Any = 0,
    segment: str | None = None,
    time: str | None = None,
) -> LocalFeature: ...
@overload
def local(
    *,
    version: str | None = None,
    name: str | None = None,
    input: InputKind = "pandas",
    track: Track = "package",
    libraries: Sequence[str] = (),
    partition: str | Sessions | None = None,
    lookback: Any = 0,
    lookahead: Any = 0,
    segment: str | None = None,
    time: str | None = None,
) -> Callable[[Callable[..., Any]], LocalFeature]: ...
def local(
    func: Any = _NOTHING,
    *,
    version: str | None = None,
    name: str | None = None,
    input: InputKind = "pandas",
    track: Track = "package",
    libraries: Sequence[str] = (),
    partition: str | Sessions | None = None,
    lookback: Any = 0,
    lookahead: Any = 0,
    segment: str | None = None,
    time: str | None = None,
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
    ``libraries``, and ``partition`` with what belongs to it, are those of ``fstore.feature``.
    """
    declared_partition: dict[str, Any] = {"partition": partition, "lookback": lookback, "lookahead": lookahead}
    declared_partition |= {"segment": segment, "time": time}
    if func is _NOTHING:
        given: dict[str, Any] = {"version": version, "name": name, "input": input, "track": track}
        return lambda below: local(below, **given, libraries=libraries, **declared_partition)
    if isinstance(func, LocalFeature):
        func = func.func
    if not callable(func):
        raise FeatureNotRegistered(describe(func), "fstore.local takes a function or another callable")
    if fault := signature_fault(func):
        raise FeatureNotRegistered(describe(func), fault)
    said = checked_name(name, func) if name is not None else None
    shown = f"{LOCAL_PREFIX}{said or describe(func)}"
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
        "libraries": declared_versions(libraries, shown),
        "source": source,
        "partitioning": checked_partitioning(shown, **declared_partition, input=input),
        "wrapping": Wrapping(said, declared),
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


def _arrived(said: dict[str, Any]) -> LocalFeature:
    """Make a feature that was pickled elsewhere.

    It is what its function is here, whose code may be another.
    """
    core = core_function(said["func"])
    source = source_of(core, said["track"]) if core is not None else Source()
    return _opened({**said, "source": source, "source_time": source.written})


def _may_get_its_place(func: Callable[..., Any]) -> bool:
    """Tell what may stand below a decorator at the top of a module, whose name is bound in a moment."""
    qualname = getattr(func, "__qualname__", "<")
    return "<" not in qualname and look_up(func.__module__, qualname) is not func


def _read_again(feature: LocalFeature, core: FunctionType) -> Source:
    """Take the source anew after other modules of it changed.

    They were loaded again, or edited before they were first imported.
    """
    source = source_of(core, feature.track)
    if source.fault and not feature.source.fault and feature.wrapping.version is None:
        raise FeatureNotRegistered(describe(feature.func), f"its source cannot be read any more: {source.fault}")
    if source.digest != feature.source.digest:
        source.loaded.mixed = feature.source.loaded.mixed_after(feature.source.loaded.loaded_again())
    return source


def _identity_of(feature: LocalFeature, known_digest: str | None = None) -> LocalIdentity:
    return identify_local(
        feature.func,
        feature.wrapping,
        input=feature.input,
        libraries=feature.libraries,
        source=feature.source,
        known_digest=known_digest,
    )
