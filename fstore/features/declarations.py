"""What is known of one feature, and how what is declared about it is checked."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, Self, get_args

from fstore.errors import ConfigurationError, FeatureNotRegistered
from fstore.features.coverage import Coverage, Source, coverage_of
from fstore.features.libraries import names_libraries
from fstore.features.names import plain_function
from fstore.features.outside.changes import changes_from_outside
from fstore.features.partitioning import Partitioning
from fstore.features.source.digest import SourceUnavailable, Track

InputKind = Literal["pandas", "arrow", "dataset"]
SOURCE_PREFIX = "src:"
log = logging.getLogger("fstore.features")
_warned: set[tuple[str, str]] = set()
QUEUE_NAME = re.compile("[a-z0-9][a-z0-9_-]{0,62}")
SHARED_QUEUES = ("compute", "write", "upkeep")
SHORTEST_S, LONGEST_S = 0.1, 1e6


@dataclass(frozen=True, slots=True)
class Feature:
    """A function that can be asked for.

    ``version`` enters the key: what was declared, or ``src:`` and 32 hex digits
    of ``source_digest``, which is empty when an explicit version stands for a
    source that cannot be read; the versions of declared ``libraries`` are added.
    ``input`` is what the function is given: a pandas frame, an Arrow table or a
    pyarrow dataset. ``queue`` and ``timeout_s`` say where and for how long workers
    compute it, and are no part of any key. ``track`` is how far the digest follows imports. ``source_time``
    is when the youngest file was written that the digest covers; nothing is
    decided by it. ``partitioning`` is how it is computed piece by piece, None if it is computed whole.
    ``source`` is what else was known when the digest was taken.
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
    partitioning: Partitioning | None = None
    queue: str | None = None
    timeout_s: float | None = None
    source: Source = field(default_factory=Source, repr=False, compare=False)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r}, version={self.version!r})"

    @property
    def coverage(self) -> Coverage:
        """What the source digest covers and what not."""
        return coverage_of(self.source, self.libraries)

    def current(self) -> Self:
        """Return the record for a request that is made now."""
        return self

    def require_unchanged(self) -> None:
        """Raise ``FeatureNotRegistered`` when the function is no longer what the record says."""

    def require_same_modules(self) -> None:
        """Raise ``FeatureNotRegistered`` when the function just ran with other modules than were digested.

        Modules that are imported only when it runs may have been edited since; those
        that were loaded again may be newer than what was imported from them before.
        """
        if mixed := self.source.loaded.mixed or self.source.loaded.loaded_again():
            raise FeatureNotRegistered(
                self.name,
                f"{mixed} was loaded again, and what was imported from it before may still be the old; load the feature's "
                "module again as well (importlib.reload), or start the process again",
            )
        try:
            self.source.loaded.check_new()
        except SourceUnavailable as exc:
            raise FeatureNotRegistered(self.name, f"it ran with other code than its version says: {exc}") from exc
        self.require_own_values()

    def require_own_values(self) -> None:
        """Raise ``FeatureNotRegistered`` when a value of its modules is not what their texts say.

        That is a constant or function. Under an explicit version that is the author's affair.
        """
        if self.explicit:
            return
        for change in changes_from_outside(self.source.loaded):
            if change.is_settled:
                raise FeatureNotRegistered(
                    self.name,
                    f"{change.name} was set from outside ({change.value!r:.60}), and its version is of the text that says "
                    "otherwise; put it back, and pass what varies in the config",
                )

    def watch(self) -> Callable[[], str]:
        """Note what the function finds now; what is returned names what others bound anew since."""
        return str

    def set_here(self) -> tuple[str, ...]:
        """Name what this process has set in its modules, or may have: a worker would compute without it."""
        return tuple(change.name for change in changes_from_outside(self.source.loaded))

    def require_as_written(self) -> None:
        """Raise ``FeatureNotRegistered`` when a request is made where its module was set from outside.

        No worker sees that. Warns, once, of what may be the module's own doing, of other modules, and under an
        explicit version.
        """
        own = f"{self.name.partition(':')[0]}."
        for change in changes_from_outside(self.source.loaded):
            if change.is_settled and not self.explicit and change.name.startswith(own):
                raise FeatureNotRegistered(
                    self.name,
                    f"{change.name} was set from outside in this process ({change.value!r:.60}), which no worker sees: they "
                    "compute with what its text says; pass what varies in the config, or compute it here: "
                    f"fstore.local({getattr(self.func, '__name__', 'func')})",
                )
            if (self.name, change.name) not in _warned:
                _warned.add((self.name, change.name))
                log.warning(
                    "%s is another in this process than %s is written to begin with (%.60r); workers do not see it, and "
                    "results are those of the text: pass what varies in the config",
                    change.name,
                    self.name,
                    change.value,
                )


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


def checked_queue(queue: Any, name: str) -> str | None:
    """Return the name of a feature's own queue; raises ``ConfigurationError`` for what cannot be one."""
    if queue is None or (isinstance(queue, str) and QUEUE_NAME.fullmatch(queue) and queue not in SHARED_QUEUES):
        return queue
    raise ConfigurationError(
        [
            f"{name}: queue must be 1 to 63 lower-case letters, digits, - and _, and none of {', '.join(SHARED_QUEUES)}, "
            f'for example queue="gpu", not {queue!r:.40}'
        ]
    )


def checked_timeout(timeout: Any, name: str) -> float | None:
    """Return a feature's own time limit in seconds; raises ``ConfigurationError`` for what is none."""
    if timeout is None:
        return None
    is_number = isinstance(timeout, int | float) and not isinstance(timeout, bool)
    if is_number and SHORTEST_S <= timeout <= LONGEST_S:
        return float(timeout)
    raise ConfigurationError(
        [
            f"{name}: timeout must be {SHORTEST_S:g} to {LONGEST_S:g} seconds, for example timeout=30, not {timeout!r:.40}"
        ]
    )


def refuse_second(known: Feature, entry: Feature) -> None:
    """Raise ``FeatureNotRegistered`` where a name was registered before as something else."""
    if known.func is entry.func:
        if (_declared(known), known.partitioning) == (_declared(entry), entry.partitioning):
            return
        apart = "version or input, queue or timeout" if known.partitioning == entry.partitioning else "partition"
        fault = f"it was registered before with another {apart}; one function is one feature, write a def for each"
    elif plain_function(known.func) is plain_function(entry.func):
        fault = (
            "the name is taken by another function: two callables wrap one function and carry its name; write a def for "
            'each and put @fstore.feature(version="1") on top of it'
        )
    else:
        fault = (
            f"the name is taken by another function ({_place(known)}); rename the one in {_place(entry)} "
            "(a module that is edited and run again: importlib.reload)"
        )
    raise FeatureNotRegistered(entry.name, fault)


def _declared(entry: Feature) -> tuple[object, ...]:
    return entry.version, entry.input, entry.queue, entry.timeout_s


def _place(entry: Feature) -> str:
    function = plain_function(entry.func)
    return f"{function.__code__.co_filename}:{function.__code__.co_firstlineno}" if function else entry.name
