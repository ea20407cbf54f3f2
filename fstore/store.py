"""``FeatureStore``: the door for people who write trainers."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Unpack, overload

from fstore import bootstrap
from fstore.bootstrap import Opening
from fstore.client import (
    KeyedRequest,
    Progress,
    StoreLooks,
    Ticket,
    answer_request,
    get_or_compute_many,
    prepare,
    start_request,
    warm_up,
)
from fstore.entries import in_form
from fstore.errors import FeatureStoreError, InvalidRequest
from fstore.fingerprint import limits_of
from fstore.model import ParquetSource, Request
from fstore.projection import Part, checked_selection
from fstore.resources import Resources
from fstore.results import Arrow, Pandas, Polars, Returns, check_returns
from fstore.runtime import deadline, tracing
from fstore.settings import Settings
from fstore.upkeep import StoreUpkeep

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl
    import pyarrow as pa

    from fstore.ingest import IngestOptions


Config = Mapping[str, Any]
Requests = Iterable[Request]
Seconds = float | None
Watch = bool | Callable[[Progress], object]
Raise = Literal["raise"]
Errors = Literal["raise", "return"]


class How(Part, total=False):
    """What else may be said of one request, and in the same words of many."""

    timeout: Seconds


class HowMany(How, total=False):
    """What else may be said of many requests."""

    progress: Watch


class FeatureStore(StoreLooks, StoreUpkeep):
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
        """Make a store over adapters that are open already, as workers and commands do.

        ``opening`` lets it be pickled.
        """
        store = cls.__new__(cls)
        store._resources, store._opening = resources, opening
        return store

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle what it was opened with, secrets left out.

        It is opened again, once a process, where it arrives. What is left out comes from the environment, a file or
        a local stack there, as it does for ``connect``.
        """
        if self._opening is None:
            raise InvalidRequest(
                "store", "was made over open adapters; open it where it is wanted: fstore.connect(...)"
            )
        return _opened_again, (self._opening, type(self))

    def __enter__(self) -> FeatureStore:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}(root={str(self.settings.path)!r})"

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
        config: Config,
        compute_func: object,
        *,
        returns: Pandas = "pandas",
        **how: Unpack[How],
    ) -> pd.DataFrame: ...
    @overload
    def get_or_compute(
        self, symbol: str, raw_data: object, config: Config, compute_func: object, *, returns: Arrow, **how: Unpack[How]
    ) -> pa.Table: ...
    @overload
    def get_or_compute(
        self,
        symbol: str,
        raw_data: object,
        config: Config,
        compute_func: object,
        *,
        returns: Polars,
        **how: Unpack[How],
    ) -> pl.DataFrame: ...
    def get_or_compute(
        self,
        symbol: str,
        raw_data: object,
        config: Config,
        compute_func: object,
        *,
        timeout: Seconds = None,
        returns: Returns = "pandas",
        **part: Unpack[Part],
    ) -> Any:
        """Return the features of ``raw_data``: the cached ones, or those a worker computes now.

        A worker computes them once for everybody who asks.

        ``raw_data`` is a DataFrame, an Arrow table, anything with
        ``__arrow_c_stream__`` (read once), or a ``ParquetSource``. ``compute_func`` is registered
        with ``@fstore.feature`` (or its name), or wrapped by ``fstore.local``.
        ``timeout`` is in seconds. Returns a DataFrame equal to what the function
        returned (the Series, if it returned a named one), a pyarrow Table with ``returns="arrow"``, or
        a polars DataFrame with ``returns="polars"``; in those two an index is a column.

        ``columns=["spread"]`` and ``between=(start, end)``, half-open, return that part of the same entry, verified.

        Raises ``ComputeFailed`` with the worker's traceback, ``ComputeDead``,
        ``ComputeTimeout``, ``UnhashableInput``, ``FeatureNotRegistered``,
        ``SourceChanged``, ``SourceNotAllowed``; and with
        ``on_unavailable="raise"`` also ``BrokerUnavailable``, ``ManifestUnavailable``
        and ``StorageFull``.
        """
        form, seconds, began = check_returns(returns), self._seconds(timeout), time.monotonic()
        wanted = checked_selection(**part) if part else None
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

    @overload
    def get_or_compute_many(
        self, requests: Requests, *, returns: Pandas = "pandas", errors: Raise = "raise", **how: Unpack[HowMany]
    ) -> Iterator[tuple[Request, pd.DataFrame]]: ...
    @overload
    def get_or_compute_many(
        self, requests: Requests, *, returns: Arrow, errors: Raise = "raise", **how: Unpack[HowMany]
    ) -> Iterator[tuple[Request, pa.Table]]: ...
    @overload
    def get_or_compute_many(
        self, requests: Requests, *, returns: Polars, errors: Raise = "raise", **how: Unpack[HowMany]
    ) -> Iterator[tuple[Request, pl.DataFrame]]: ...
    @overload
    def get_or_compute_many(
        self, requests: Requests, *, returns: Returns = "pandas", errors: Errors = "raise", **how: Unpack[HowMany]
    ) -> Iterator[tuple[Request, Any]]: ...
    def get_or_compute_many(
        self,
        requests: Requests,
        *,
        timeout: Seconds = None,
        returns: Returns = "pandas",
        progress: Watch = False,
        errors: Errors = "raise",
        **part: Unpack[Part],
    ) -> Iterator[tuple[Request, Any]]:
        """Yield ``(request, frame)`` as results come, the hits first.

        All requests are taken at once, and results belong to the raw data as they were
        then: frames may be changed while results come. Workers begin with the first while the last are taken,
        so that a call which is refused one of them leaves results of others. Raw data that several requests of
        a list share are fingerprinted once. An iterator may refill its buffers from one
        request to the next, so its raw data are looked at for each request, and a copy of
        what differs is kept: pass a list to avoid that. With
        ``errors="return"`` a failed request yields its error in place of the frame;
        with ``"raise"`` the first failure is raised. ``progress`` shows a bar, or is called
        with how far it is: ``phase``, ``done``, ``total``, ``hits``, ``computed``, ``failed``.
        """
        form, seconds, wanted = (
            check_returns(returns),
            self._seconds(timeout),
            checked_selection(**part) if part else None,
        )
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

    def ingest(self, frame_or_table: object, path: str | Path, **options: Unpack[IngestOptions]) -> ParquetSource:
        """Write raw data as Parquet whose footer carries the fingerprint.

        Nobody has to scan them again. A path to a file or folder of CSV, Parquet or Arrow is taken as well;
        options: ``fstore.ingest.ingest``.
        """
        from fstore.ingest import ingest  # noqa: PLC0415 a writer's code is no business of the hit path

        return ingest(frame_or_table, Path(path), limits=limits_of(self.settings), **options)

    def close(self) -> None:
        """Hand over what was noted and close every connection."""
        for opening in [opening for opening, store in list(_opened.items()) if store is self]:
            _opened.pop(opening, None)
        self._resources.close()

    def _prepare(self, symbol: str, raw_data: object, config: Mapping[str, Any], compute_func: object) -> KeyedRequest:
        return prepare(self._resources, symbol, raw_data, config, compute_func)

    def _seconds(self, timeout: float | None) -> float:
        return self.settings.request_timeout_s if timeout is None else deadline.checked_seconds(timeout)


def connect(root: str | Path | None = None, **settings: Any) -> FeatureStore:
    """Open the store that the settings name.

    They are arguments, ``FEATURE_STORE_*``, a YAML file, or those of a running local stack.
    """
    return FeatureStore(root, **settings)


# By pickles that arrived in this process. No lock: a fork may come any time.
_opened: dict[tuple[Opening, type[FeatureStore]], FeatureStore] = {}


def _opened_again(opening: Opening, kind: type[FeatureStore] = FeatureStore) -> FeatureStore:
    store = _opened.get((opening, kind))
    if store is None:
        made = kind.__new__(kind)  # a class of the user's may take other arguments
        FeatureStore.__init__(made, config_file=opening.config_file, **opening.settings)
        store = _opened.setdefault((opening, kind), made)
        if store is not made:
            made.close()
    return store
