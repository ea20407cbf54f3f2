"""What is known of one feature, and how what is declared about it is checked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Self, get_args

from fstore.errors import ConfigurationError
from fstore.features.coverage import Coverage, coverage_of
from fstore.features.libraries import names_libraries
from fstore.features.names import plain_function, wrapping_modules
from fstore.features.source.digest import SourceUnavailable, Track, source_digest

InputKind = Literal["pandas", "arrow", "dataset"]
SOURCE_PREFIX = "src:"


@dataclass(frozen=True, slots=True)
class Feature:
    """A function that can be asked for.

    ``version`` enters the key: what was declared, or ``src:`` and 32 hex digits
    of ``source_digest``, which is empty when an explicit version stands for a
    source that cannot be read; the versions of declared ``libraries`` are added.
    ``input`` is what the function is given: a pandas frame, an Arrow table or a
    pyarrow dataset. ``track`` is how far the digest follows imports. ``source_time``
    is when the file was written that the function was loaded from; nothing is
    decided by it.
    """

    name: str
    func: Callable[..., Any]
    version: str
    source_digest: str
    explicit: bool
    input: InputKind = "pandas"
    source_time: float | None = None
    track: Track = "package"
    libraries: tuple[tuple[str, str], ...] = ()

    @property
    def coverage(self) -> Coverage:
        """What the source digest covers and what not, looked up now."""
        return coverage_of(plain_function(self.func), self.track, wrapping_modules(self.func), self.libraries)

    def current(self) -> Self:
        """Return the record for a request that is made now."""
        return self

    def require_unchanged(self) -> None:
        """Raise ``FeatureNotRegistered`` when the function is no longer what the record says."""


def checked_version(version: Any, name: str) -> str:
    """Return a declared version that can enter a key; raises ``ConfigurationError`` for any other."""
    if not isinstance(version, str):
        raise ConfigurationError([f'{name}: the version must be a text, for example version="1", not {version!r:.40}'])
    if not 1 <= len(version) <= 64 or not version.isprintable() or version.startswith(SOURCE_PREFIX):
        raise ConfigurationError(
            [f"{name}: the version must have 1 to 64 printable characters and not begin with {SOURCE_PREFIX!r}"]
        )
    if names_libraries(version):
        raise ConfigurationError([f"{name}: [library==version] at the end of a version is what libraries= writes"])
    return version


def checked_input(kind: Any, name: str) -> InputKind:
    """Return a known kind of input; raises ``ConfigurationError`` for any other."""
    for known in get_args(InputKind):
        if kind == known:
            return known  # type: ignore[no-any-return]
    raise ConfigurationError([f"{name}: input must be 'pandas', 'arrow' or 'dataset', not {kind!r:.40}"])


def checked_track(track: Any, name: str) -> Track:
    """Return a known reach of the digest; raises ``ConfigurationError`` for any other."""
    for known in get_args(Track):
        if track == known:
            return known  # type: ignore[no-any-return]
    raise ConfigurationError([f"{name}: track must be 'package' or 'module', not {track!r:.40}"])


def digest_of(func: Callable[..., Any], track: Track = "package") -> str:
    """Digest a function's source, or return an empty text when it cannot be read."""
    return digest_or_fault(func, track)[0]


def digest_or_fault(func: Callable[..., Any], track: Track) -> tuple[str, str]:
    """Digest a function's source, or say why that cannot be done."""
    function = plain_function(func)
    if function is None:
        return "", "it is no function written with def"
    try:
        return source_digest(function, track, wrapping_modules(func)), ""
    except SourceUnavailable as exc:
        return "", str(exc)
