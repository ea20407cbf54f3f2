"""What a store is asked about itself, and told to do for its upkeep, by people and their scripts."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from fstore import lazy
from fstore.errors import InvalidRequest
from fstore.features import resolve_feature
from fstore.model import Entry, EntryState
from fstore.resources import Resources

if TYPE_CHECKING:
    from fstore.reporting import cache_overview, cache_stats
    from fstore.upkeep.api import collect_garbage, count_orphans, verify_entries
else:  # a trainer's store has these methods too, and most never call one
    globals().update(lazy.functions("fstore.reporting", "cache_overview cache_stats"))
    globals().update(lazy.functions("fstore.upkeep.api", "collect_garbage count_orphans verify_entries"))

MOST_AT_ONCE = 100_000


def chosen_entries(
    resources: Resources, key: str | None, symbol: str | None, feature: object, *, pinned: bool
) -> list[Entry]:
    """Return the live entries for which every condition holds that is given.

    With ``pinned`` those that are, live or not.
    """
    name = None if feature is None else feature if isinstance(feature, str) else resolve_feature(feature).name
    if key is None:
        state = None if pinned else EntryState.LIVE
        return resources.manifest.list_entries(
            symbol=symbol, feature=name, state=state, pinned=pinned, limit=MOST_AT_ONCE
        )
    entry = resources.manifest.find_entry(key)
    fits = entry is not None and symbol in (None, entry.parts.symbol) and name in (None, entry.parts.feature)
    return [entry] if fits and entry is not None and (pinned or entry.state is EntryState.LIVE) else []


class StoreUpkeep:
    """The part of a store that no trainer needs: statistics, invalidation, garbage, integrity."""

    _resources: Resources

    def invalidate(self, *, key: str | None = None, symbol: str | None = None, feature: object = None) -> int:
        """Condemn entries, and return how many.

        They are hidden now, deleted after the grace period, computed anew when asked for. Conditions given together
        must all hold. A failed or dead job of ``key`` may start anew.
        """
        if key is None and symbol is None and feature is None:
            raise InvalidRequest("invalidate", "name a key, a symbol or a feature; nothing was condemned")
        name = None if feature is None else feature if isinstance(feature, str) else resolve_feature(feature).name
        if key is not None:
            self._resources.jobs.reset(key)
        return self._resources.manifest.condemn(key=key, symbol=symbol, feature=name)

    def pin(self, *, key: str | None = None, symbol: str | None = None, feature: object = None) -> int:
        """Keep live entries whatever their age and the space; returns how many are new.

        Garbage collection leaves them alone. Conditions given together must all hold. ``invalidate`` still hides a
        pinned entry; what is then computed anew under the same key is pinned as before.
        """
        return self._pin(True, key, symbol, feature)

    def unpin(self, *, key: str | None = None, symbol: str | None = None, feature: object = None) -> int:
        """Let garbage collection decide again about entries that were pinned. Returns how many were."""
        return self._pin(False, key, symbol, feature)

    def _pin(self, wanted: bool, key: str | None, symbol: str | None, feature: object) -> int:
        if key is None and symbol is None and feature is None:
            raise InvalidRequest("pin" if wanted else "unpin", "name a key, a symbol or a feature; nothing was changed")
        keys = [entry.key for entry in chosen_entries(self._resources, key, symbol, feature, pinned=not wanted)]
        return len(self._resources.manifest.pin(keys, wanted=wanted))

    def get_cache_stats(self) -> dict[str, int]:
        """Return the counters of the whole store since it was made."""
        return cache_stats(self._resources)

    def get_cache_overview(self) -> dict[str, Any]:
        """Return entries, sizes, what is old and what is orphaned, by symbol and by feature."""
        orphans = count_orphans(self._resources)
        return cache_overview(self._resources, now=datetime.now(UTC), orphaned_files=orphans)

    def validate_cache_integrity(self) -> dict[str, Any]:
        """Read every live entry and return ``integrity_ok``, ``issues``, ``checked`` and ``bytes_read``."""
        return verify_entries(self._resources)

    def run_garbage_collection(self, *, dry_run: bool = False, force: bool = False) -> dict[str, Any]:
        """Give up what the policy no longer keeps; with ``dry_run`` only report what would go."""
        return collect_garbage(self._resources, dry_run=dry_run, force=force)
