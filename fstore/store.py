"""``FeatureStore``: the door for people who write trainers."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Unpack, overload

from fstore import bootstrap
from fstore.bootstrap import Opening
from fstore.client import (
    Explanation,
    KeyedRequest,
    Progress,
    Ticket,
    answer_request,
    explain,
    get_or_compute_many,
    load_answered,
    peek_many,
    prepare,
    start_request,
    warm_up,
    warn_of_other_source,
)
from fstore.entries import in_form
from fstore.errors import FeatureStoreError, InvalidRequest
from fstore.features import resolve_feature
from fstore.fingerprint import limits_of
from fstore.model import Entry, EntryState, ParquetSource, Request
from fstore.projection import Part, checked_selection
from fstore.reporting import cache_overview, cache_stats
from fstore.resources import Resources
from fstore.results import Returns, check_returns
from fstore.runtime import deadline, tracing
from fstore.settings import Settings
from fstore.upkeep import collect_garbage, count_orphans, verify_entries

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from fstore.ingest import IngestOptions


class FeatureStore:
    """A shared, verified cache of computed features.

    Give settings by name (``root`` is ``FEATURE_STORE_PATH``); what is not given
    comes from the environment, a YAML file, or a local stack running on ``root``.
    Safe to share between threads and across forks. Connections are opened in the
    background; servers that are away are not an error before the first request.
    """

    def __init__(
        self, root: str | Path | None = None, *, config_file: str | Path | None = None, **settings: Any
    ) -> None:
        given = {**settings, **({"path": root} if root is not None else {})}
        file = Path(config_file) if config_file is not None else None
        chosen = bootstrap.load_settings(given, config_file=file)
        self._resources = bootstrap.open_resources(chosen, role="trainer")
        self._opening: Opening | None = Opening.of({**given, "path": chosen.path}, file)
        warm_up(self._resources)

    @classmethod
    def over(cls, resources: Resources, opening: Opening | None = None) -> FeatureStore:
        """Make a store over adapters that are open already, as workers and commands do; ``opening`` lets it be pickled."""
        store = cls.__new__(cls)
        store._resources, store._opening = resources, opening
        return store

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle what it was opened with, secrets left out; it is opened again, once a process, where it arrives.

        What is left out comes from the environment, a file or a local stack there, as it
        does for ``connect``.
        """
        if self._opening is None:
            raise InvalidRequest(
                "store", "was made over open adapters; open it where it is wanted: fstore.connect(...)"
            )
        return _opened_again, (self._opening,)

    def __enter__(self) -> FeatureStore:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"FeatureStore(root={str(self.settings.path)!r})"

    @property
    def settings(self) -> Settings:
        """The settings in force."""
        return self._resources.settings

    @property
    def resources(self) -> Resources:
        """The open adapters, for commands and tests."""
        return self._resources

    @overload
    def get_or_compute(
        self,
        symbol: str,
        raw_data: object,
        config: Mapping[str, Any],
        compute_func: object,
        *,
        timeout: float | None = None,
        returns: Literal["pandas"] = "pandas",
        **part: Unpack[Part],
    ) -> pd.DataFrame: ...
    @overload
    def get_or_compute(
        self,
        symbol: str,
        raw_data: object,
        config: Mapping[str, Any],
        compute_func: object,
        *,
        timeout: float | None = None,
        returns: Literal["arrow"],
        **part: Unpack[Part],
    ) -> pa.Table: ...
    def get_or_compute(
        self,
        symbol: str,
        raw_data: object,
        config: Mapping[str, Any],
        compute_func: object,
        *,
        timeout: float | None = None,
        returns: Returns = "pandas",
        **part: Unpack[Part],
    ) -> Any:
        """Return the features of ``raw_data``: the cached ones, or those a worker computes now, once for everybody who asks.

        ``raw_data`` is a DataFrame, an Arrow table, anything with
        ``__arrow_c_stream__`` (read once), or a ``ParquetSource``. ``compute_func`` is registered
        with ``@fstore.feature`` (or its name), or wrapped by ``fstore.local``.
        ``timeout`` is in seconds. Returns a DataFrame equal to what the function
        returned, or a pyarrow Table with ``returns="arrow"``.

        ``columns=["spread"]`` and ``between=(start, end)``, half-open, return that part of the same entry, verified.

        Raises ``ComputeFailed`` with the worker's traceback, ``ComputeDead``,
        ``ComputeTimeout``, ``UnhashableInput``, ``FeatureNotRegistered``,
        ``SourceChanged``, ``SourceNotAllowed``; and with
        ``on_unavailable="raise"`` also ``BrokerUnavailable``, ``ManifestUnavailable``
        and ``StorageFull``.
        """
        form, seconds, began = check_returns(returns), self._seconds(timeout), time.monotonic()
        wanted = checked_selection(**part)
        try:
            with deadline.within(seconds), tracing.span("fstore.get_or_compute", symbol=symbol):
                request = self._prepare(symbol, raw_data, config, compute_func)
                tracing.note(feature=request.feature.name, key=request.key)
                left_s = seconds - (time.monotonic() - began)
                answer = answer_request(self._resources, request, seconds=left_s, wanted=wanted)
                tracing.note(status=answer.status)
                if answer.error is not None:
                    raise answer.error
                return in_form(answer.result, form)
        except FeatureStoreError as error:  # its message says it all; the causes keep their frames
            raise error.with_traceback(None) from error.__cause__

    def get_or_compute_many(
        self,
        requests: Iterable[Request],
        *,
        timeout: float | None = None,
        returns: Returns = "pandas",
        progress: bool | Callable[[Progress], object] = False,
        errors: Literal["raise", "return"] = "raise",
        **part: Unpack[Part],
    ) -> Iterator[tuple[Request, Any]]:
        """Yield ``(request, frame)`` as results come, the hits first.

        All requests are taken at once, and results belong to the raw data as they were
        then: frames may be changed while results come. Raw data that several requests of
        a list share are fingerprinted once. An iterator may refill its buffers from one
        request to the next, so its raw data are looked at for each request, and a copy of
        what differs is kept: pass a list to avoid that. With
        ``errors="return"`` a failed request yields its error in place of the frame;
        with ``"raise"`` the first failure is raised. ``progress`` shows a bar, or is called
        with how far it is: ``phase``, ``done``, ``total``, ``hits``, ``computed``, ``failed``.
        """
        form, seconds, wanted = check_returns(returns), self._seconds(timeout), checked_selection(**part)
        return get_or_compute_many(
            self._resources, requests, seconds=seconds, returns=form, wanted=wanted, progress=progress, errors=errors
        )

    def submit(self, symbol: str, raw_data: object, config: Mapping[str, Any], compute_func: object) -> Ticket:
        """Ask for features without waiting; the ticket's ``result()`` waits."""
        with tracing.span("fstore.submit", symbol=symbol):
            request = self._prepare(symbol, raw_data, config, compute_func)
            tracing.note(feature=request.feature.name, key=request.key)
            request = start_request(self._resources, request, seconds=self._seconds(None))
            return Ticket(self._resources, request, store=None if self._opening is None else self)

    def peek(self, symbol: str, raw_data: object, config: Mapping[str, Any], compute_func: object) -> Entry | None:
        """Return the live entry that would answer, or None; computes nothing."""
        request = self._prepare(symbol, raw_data, config, compute_func)
        entry = self._resources.manifest.find_entry(request.key)
        if entry is None or entry.state is not EntryState.LIVE:
            return None
        warn_of_other_source(self._resources.manifest, request.feature, entry)
        return entry

    def peek_many(self, requests: Iterable[Request]) -> Iterator[tuple[Request, Entry | None]]:
        """Yield each request with the live entry that would answer it, or None, in their order; computes nothing.

        All requests are taken at once. Raw data that several requests of a list share are
        fingerprinted once.
        """
        return peek_many(self._resources, requests)

    def explain(self, symbol: str, raw_data: object, config: Mapping[str, Any], compute_func: object) -> Explanation:
        """Tell whether this hits, why not, which earlier entry is nearest, and who is computing it."""
        return explain(self._resources, self._prepare(symbol, raw_data, config, compute_func))

    def invalidate(self, *, key: str | None = None, symbol: str | None = None, feature: object = None) -> int:
        """Condemn entries: hidden now, deleted after the grace period, computed anew when asked for. Returns how many.

        Conditions given together must all hold. A failed or dead job of ``key`` may
        start anew.
        """
        if key is None and symbol is None and feature is None:
            raise InvalidRequest("invalidate", "name a key, a symbol or a feature; nothing was condemned")
        name = None if feature is None else feature if isinstance(feature, str) else resolve_feature(feature).name
        if key is not None:
            self._resources.jobs.reset(key)
        return self._resources.manifest.condemn(key=key, symbol=symbol, feature=name)

    def load(self, answer: Mapping[str, Any], *, returns: Returns = "pandas", **part: Unpack[Part]) -> Any:
        """Read the frame that a plain Celery call of ``fstore.get_or_compute`` answered with, verified like every read."""
        key, path, wanted = str(answer["key"]), str(answer.get("path")), checked_selection(**part)
        return in_form(load_answered(self._resources, key, path, wanted), check_returns(returns))

    def ingest(self, frame_or_table: object, path: str | Path, **options: Unpack[IngestOptions]) -> ParquetSource:
        """Write raw data as Parquet whose footer carries the fingerprint, so that nobody has to scan it again.

        A path to a file or folder of CSV, Parquet or Arrow is taken as well; options: ``fstore.ingest.ingest``.
        """
        from fstore.ingest import ingest  # noqa: PLC0415 a writer's code is no business of the hit path

        return ingest(frame_or_table, Path(path), limits=limits_of(self.settings), **options)

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

    def close(self) -> None:
        """Hand over what was noted and close every connection."""
        for opening in [opening for opening, store in list(_opened.items()) if store is self]:
            _opened.pop(opening, None)
        self._resources.close()

    def _prepare(self, symbol: str, raw_data: object, config: Mapping[str, Any], compute_func: object) -> KeyedRequest:
        return prepare(self._resources, symbol, raw_data, config, compute_func)

    def _seconds(self, timeout: float | None) -> float:
        return self.settings.request_timeout_s if timeout is None else timeout


def connect(root: str | Path | None = None, **settings: Any) -> FeatureStore:
    """Open the store that the settings name: arguments, ``FEATURE_STORE_*``, a YAML file, or a running local stack."""
    return FeatureStore(root, **settings)


# By pickles that arrived in this process. No lock: a fork may come any time.
_opened: dict[Opening, FeatureStore] = {}


def _opened_again(opening: Opening) -> FeatureStore:
    store = _opened.get(opening)
    if store is None:
        made = FeatureStore(config_file=opening.config_file, **opening.settings)
        store = _opened.setdefault(opening, made)
        if store is not made:
            made.close()
    return store
