"""The two classes of the cache that came before this one, under their names.

They are for code that is to run as it stands. ``docs/migrating.md`` says what they are today; new code takes
``FeatureStore``.
"""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Any, Self

from fstore.store import FeatureStore


class OptimizedFeatureStore(FeatureStore):
    """``FeatureStore`` that computes plain functions in this process, unless told otherwise.

    They are keyed by their source.
    """

    def __init__(
        self, root: str | Path | None = None, *, config_file: str | Path | None = None, **settings: Any
    ) -> None:
        settings.setdefault("on_unregistered", "local")
        super().__init__(root, config_file=config_file, **settings)


class DiskGarbageCollector:
    """Upkeep of one store by hand; what is given wins over the settings.

    Close it, or use it in a ``with`` block.
    """

    def __init__(
        self,
        cache_root: str | Path | None = None,
        retention_weeks: float | None = None,
        dry_run: bool | None = None,
        **settings: Any,
    ) -> None:
        self._store = FeatureStore(cache_root, gc_retention_weeks=retention_weeks, gc_dry_run=dry_run, **settings)

    def __repr__(self) -> str:
        return f"DiskGarbageCollector(cache_root={repr(self._store).partition('=')[2]}"

    def run_garbage_collection(self, *, dry_run: bool | None = None) -> dict[str, Any]:
        """Collect, or only report with ``dry_run``; by default as it was said when this was made."""
        chosen = self._store.settings.gc_dry_run if dry_run is None else dry_run
        return self._store.run_garbage_collection(dry_run=chosen)

    def get_cache_overview(self) -> dict[str, Any]:
        """Return ``manifest_entries``, ``total_size_mb``, ``old_entries_count`` and more.

        All that the store knows of itself.
        """
        return self._store.get_cache_overview()

    def close(self) -> None:
        """Close every connection."""
        self._store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
