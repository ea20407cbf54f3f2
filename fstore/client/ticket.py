"""A computation that was asked for and not waited for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol, Unpack, overload

from fstore import lazy
from fstore.client.read_through import answer_request
from fstore.client.request import KeyedRequest, concerning, is_refused_to_another
from fstore.entries import in_form
from fstore.errors import FeatureStoreError, InvalidRequest, VersionMismatch
from fstore.features import LocalFeature, key_of, resolve_feature
from fstore.fingerprint import RawInput
from fstore.model import Fingerprint, JobState, KeyParts, KeyStatus
from fstore.projection import Part, checked_selection
from fstore.resources import Resources
from fstore.results import Arrow, Pandas, Polars, Returns, check_returns
from fstore.runtime import deadline

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl
    import pyarrow as pa

    from fstore.client.partitions.pieces import Pieces
    from fstore.compute import SegmentTask, failure_for

    _Known = tuple[KeyParts, RawInput, Fingerprint, SegmentTask]
else:  # whoever is told of a failure
    globals().update(lazy.functions("fstore.compute", "failure_for"))


_LIVE, _UNKNOWN = "live", "unknown"
_STATES = (*map(str, (JobState.DEAD, JobState.FAILED, JobState.RUNNING, JobState.QUEUED)), _UNKNOWN, _LIVE)


class OpenStore(Protocol):
    """What a ticket needs of the store it came from."""

    @property
    def resources(self) -> Resources:
        """The open adapters."""
        ...


class Ticket:
    """What ``submit`` returns: the key, and ways to look at and to wait for its result."""

    def __init__(self, resources: Resources, request: KeyedRequest, *, store: OpenStore | None = None) -> None:
        self._resources = resources
        self._request = request
        self._store = store

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle with the store, which is opened again where it arrives.

        The raw data go with it, should it have to be computed again.
        """
        if self._store is None:
            raise InvalidRequest("ticket", "belongs to no store that could be opened again; pass on its key instead")
        request, feature = self._request, self._request.feature
        named = feature if isinstance(feature, LocalFeature) else feature.name
        known: list[Any] = [self._store, request.parts, named, request.raw_data, request.fingerprint]
        if request.segments:  # written down for tickets that have some, as others always were
            known.append(
                (
                    request.pieces,
                    [(each.parts, each.raw_data, each.fingerprint, each.task) for each in request.segments],
                )
            )
        return _of_store, tuple(known)

    def __repr__(self) -> str:
        parts = self._request.parts
        return f"Ticket(key={self.key[:12]!r}, symbol={parts.symbol!r}, feature={parts.feature!r})"

    @property
    def key(self) -> str:
        """The key of the result."""
        return self._request.key

    def status(self) -> str:
        """Return ``live`` when the result is there, else the job's state.

        That is ``queued``, ``running``, ``failed``, ``dead``, or ``unknown``. Of a feature with partitions it is
        that of its segments: what one ends with, else what one still waits for.
        """
        states = {self._state(view) for view in self._views()}
        return next(state for state in _STATES if state in states)

    def done(self) -> bool:
        """Return whether ``result`` would answer at once, with a frame or an error."""
        return all(view.entry is not None or self._failure(view) is not None for view in self._views())

    @overload
    def result(
        self, timeout: float | None = None, *, returns: Pandas = "pandas", **part: Unpack[Part]
    ) -> pd.DataFrame: ...
    @overload
    def result(self, timeout: float | None = None, *, returns: Arrow, **part: Unpack[Part]) -> pa.Table: ...
    @overload
    def result(self, timeout: float | None = None, *, returns: Polars, **part: Unpack[Part]) -> pl.DataFrame: ...
    @overload
    def result(self, timeout: float | None = None, *, returns: Returns, **part: Unpack[Part]) -> Any: ...
    def result(self, timeout: float | None = None, *, returns: Returns = "pandas", **part: Unpack[Part]) -> Any:
        """Wait for the frame at most ``timeout`` seconds, or raise its error.

        The default is the store's request timeout. A result that was given up meanwhile is computed again.
        ``columns`` and ``between`` say which part of it is read, as for ``get_or_compute``.
        """
        form, wanted = check_returns(returns), checked_selection(**part)
        seconds = self._resources.settings.request_timeout_s if timeout is None else deadline.checked_seconds(timeout)
        answer = answer_request(self._resources, self._request, seconds=seconds, wanted=wanted)
        if answer.error is not None:
            raise answer.error.with_traceback(None)
        return in_form(answer.result, form)

    def exception(self) -> FeatureStoreError | None:
        """Return the error the computation ended with, or None when it has a result or has not ended."""
        return next((error for view in self._views() if (error := self._failure(view)) is not None), None)

    def _state(self, view: KeyStatus) -> str:
        if view.entry is not None:
            return _LIVE
        return _UNKNOWN if view.job is None or self._is_anothers(view) else str(view.job.state)

    def _failure(self, view: KeyStatus) -> FeatureStoreError | None:
        error = None if self._is_anothers(view) else failure_for(view)
        return error and concerning(error, self._request.parts.symbol, self._request.parts.feature)

    def _is_anothers(self, view: KeyStatus) -> bool:
        return is_refused_to_another(self._request, view.job, self._resources.settings.on_source_change)

    def _views(self) -> list[KeyStatus]:
        return list(
            self._resources.jobs.look([each.key for each in self._request.segments or [self._request]]).values()
        )


def _of_store(
    store: OpenStore,
    parts: KeyParts,
    compute_func: object,
    raw_data: RawInput,
    fingerprint: Fingerprint,
    in_parts: tuple[Pieces, Sequence[_Known]] | None = None,
) -> Ticket:
    feature = resolve_feature(compute_func)
    if feature.version != parts.feature_version:  # the key would not be that of what is computed here
        raise VersionMismatch(feature.name, parts.feature_version, feature.version)
    pieces, known = in_parts or (None, ())
    segments = tuple(KeyedRequest(key_of(one), one, feature, raw, taken, task) for one, raw, taken, task in known)
    request = KeyedRequest(key_of(parts), parts, feature, raw_data, fingerprint, pieces=pieces, segments=segments)
    return Ticket(store.resources, request, store=store)
