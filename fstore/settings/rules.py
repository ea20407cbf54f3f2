"""Rules that tie several settings together; each says what to change."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from fstore.settings.object_store import object_store_faults

if TYPE_CHECKING:
    from fstore.settings.schema import Settings


@dataclass(frozen=True, slots=True)
class Rule:
    """A test of several settings at once; ``fault`` returns what is wrong, or None."""

    fields: tuple[str, ...]
    fault: Callable[[Settings], str | None]


def broken_rules(settings: Settings, *, untrusted: Collection[str] = ()) -> Iterator[str]:
    """Yield a fault for each broken rule, leaving out rules on fields that are faulty themselves."""
    for rule in RULES:
        if not set(rule.fields) & set(untrusted) and (fault := rule.fault(settings)):
            yield f"{', '.join(rule.fields)}: {fault}"
    if not {name for name in untrusted if name.startswith(("s3_", "path"))}:
        for fields, fault in object_store_faults(settings):
            yield f"{', '.join(fields)}: {fault}"


def shortest_grace(compute_limit: timedelta) -> timedelta:
    """Return how long a hidden entry must keep its file at least.

    Readers and writers that are at work are done by then. Settings and upkeep refuse anything shorter by this one rule.
    """
    return max(timedelta(hours=1), 2 * compute_limit)


def _grace(s: Settings) -> str | None:
    shortest_hours = shortest_grace(timedelta(seconds=s.compute_time_limit_s)) / timedelta(hours=1)
    if s.gc_grace_unsafe or s.gc_grace_hours >= shortest_hours:
        return None
    return (
        f"a grace period of {s.gc_grace_hours:g} h could delete files that are in use; set gc_grace_hours to "
        f"{shortest_hours:g} or more (1 h, and twice the compute limit), or gc_grace_unsafe=true in a test"
    )


def _soft_limit(s: Settings) -> str | None:
    if s.soft_time_limit_s < s.compute_time_limit_s:
        return None
    return f"the soft limit of {s.soft_time_limit_s:g} s must be below the hard one of {s.compute_time_limit_s:g} s"


def _renewal(lease: str) -> Callable[[Settings], str | None]:
    def fault(s: Settings) -> str | None:
        seconds = float(getattr(s, lease))
        if seconds > 2 * s.renew_seconds:
            return None
        return (
            f"{seconds:g} s lapse before a missed renewal can be made good; "
            f"set {lease} above {2 * s.renew_seconds:g}, twice renew_seconds"
        )

    return fault


def _local_cache(s: Settings) -> str | None:
    if s.cache_folder is None or s.folder is None:
        return None
    local, root = s.cache_folder.resolve(), s.folder.resolve()
    if local == root or local.is_relative_to(root / "entries") or root.is_relative_to(local):
        return f"{s.cache_folder} would mix the local cache with the store's own files; choose another folder"
    return None


RULES = (
    Rule(("gc_grace_hours", "compute_time_limit_s", "gc_grace_unsafe"), _grace),
    Rule(("compute_soft_limit_s", "compute_time_limit_s"), _soft_limit),
    Rule(("lease_seconds", "renew_seconds"), _renewal("lease_seconds")),
    Rule(("lock_seconds", "renew_seconds"), _renewal("lock_seconds")),
    Rule(("local_cache", "path"), _local_cache),
)
