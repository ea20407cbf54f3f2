"""Requests for features with partitions, answered in parts.

Which segments are wanted, and what they make together.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pyarrow as pa

from fstore.client.request import Answer, KeyedRequest
from fstore.compute import NAME_PREFIX, own_raw
from fstore.entries import read_entry, read_wanted
from fstore.errors import ComputeFailed, FeatureStoreError, InvalidRequest
from fstore.increments import KnownSegment, composed, contents_of, series_of, take_partitions, without_contents
from fstore.model import Status
from fstore.projection import Selection, time_field_of
from fstore.resources import Resources
from fstore.results import UnstorableResult, encode_result
from fstore.storage import MappedEntry

SERIES_AT_ONCE = 1000


class Composing:
    """The requests of one call, those in parts replaced by the parts that are wanted.

    Puts answers together again.
    """

    def __init__(self, requests: Sequence[KeyedRequest], wanted: Selection | None) -> None:
        self._wanted = wanted
        self.parts: list[KeyedRequest] = []
        self._whole_of: dict[int, KeyedRequest] = {}
        self._chosen: dict[int, dict[int, str]] = {}  # with the names of their periods
        self._answers: dict[int, dict[int, Answer]] = {}
        for request in requests:
            if not (isinstance(request, KeyedRequest) and request.segments):
                self.parts.append(request)
                continue
            # One request may be asked twice: each has parts of its own, by which its answers are told apart.
            places = wanted_segments(request, wanted)
            chosen = [request.segments[at] for at in places]
            periods = [each.period for each in request.pieces.segments] if request.pieces is not None else []
            self._chosen[id(request)] = {id(request.segments[at]): periods[at] for at in places}
            self._answers[id(request)] = {}
            self._whole_of |= {id(each): request for each in chosen}
            self.parts += chosen

    def take(self, answer: Answer) -> Answer | None:
        """Return the answer that is complete with this one, if any is."""
        whole = self._whole_of.get(id(answer.request))
        if whole is None:
            return answer
        answers = self._answers[id(whole)]
        answers[id(answer.request)] = answer
        if len(answers) < len(self._chosen[id(whole)]):
            return None
        return self._composed(whole, [answers.pop(each) for each in self._chosen[id(whole)]])

    def _composed(self, whole: KeyedRequest, answers: Sequence[Answer]) -> Answer:
        statuses = {answer.status for answer in answers}
        status = next(each for each in (Status.COMPUTED, Status.COALESCED, Status.HIT) if each in statuses)
        if (error := next((answer.error for answer in answers if answer.error is not None), None)) is not None:
            return Answer(whole, status, error=error)  # the others are published: who asks again computes the rest
        try:
            periods = self._chosen[id(whole)].values()
            tables = [
                (period, without_contents(_table(answer.result)))
                for period, answer in zip(periods, answers, strict=True)
            ]
            result = composed(tables)
            self._check_zone(whole, result)
        except UnstorableResult as fault:
            return Answer(whole, status, error=ComputeFailed(whole.key, "UnstorableResult", f"{fault}"))
        except FeatureStoreError as fault:
            return Answer(whole, status, error=fault)
        not_stored = next((answer.not_stored for answer in answers if answer.not_stored is not None), None)
        return Answer(whole, status, None, result, not_stored=not_stored)

    def _check_zone(self, whole: KeyedRequest, result: pa.Table) -> None:
        """Refuse bounds without zone that mean one time by the raw data's clock and another by the result's."""
        between = self._wanted.between if self._wanted is not None else None
        if between is None or whole.pieces is None or whole.pieces.zone is None:
            return
        bounds = [each for each in (between.start, between.end) if each is not None]
        zone = time_field_of(result.schema).type.tz
        if any(each.tzinfo is None for each in bounds) and str(zone) != str(whole.pieces.zone):
            raise InvalidRequest(
                "between", f"the raw data's clock is that of {whole.pieces.zone}, the result's of {zone}; give a zone"
            )


def owned(request: KeyedRequest) -> KeyedRequest:
    """Return a request whose raw data lie in memory that nobody else can write to."""
    if not request.segments:
        return replace(request, raw_data=own_raw(request.raw_data))
    return replace(
        request, raw_data=own_raw(request.raw_data), segments=tuple(owned(each) for each in request.segments)
    )


def has_task(request: KeyedRequest) -> bool:
    """Tell whether a request is for a segment."""
    return isinstance(request, KeyedRequest) and request.task is not None


def wanted_segments(request: KeyedRequest, wanted: Selection | None) -> Sequence[int]:
    """List the segments that a part of the result lies in.

    The first one where none does, which says what columns there are.
    """
    pieces = request.pieces
    if pieces is None or wanted is None or wanted.between is None:
        return range(len(request.segments))
    start, end = wanted.between.ticks("ns", pieces.zone)
    found = [
        at
        for at in range(len(request.segments))
        if (start is None or pieces.bounds(at)[1] * 10**9 > start)
        and (end is None or pieces.bounds(at)[0] * 10**9 < end)
    ]
    return found or [0]


def covered(
    resources: Resources, requests: Mapping[str, KeyedRequest], wanted: Selection | None
) -> Iterator[tuple[str, KnownSegment, Any]]:
    """Find segments that hold all partitions of others that are missing.

    Gives their results by the missing ones' keys. An ``InvalidRequest`` stands in place of one that has not what is
    wanted of it.
    """
    asked = [(key, request) for key, request in requests.items() if has_task(request)]
    for start in range(0, len(asked), SERIES_AT_ONCE):
        chunk = [(key, *_place(request)) for key, request in asked[start : start + SERIES_AT_ONCE]]
        found: dict[tuple[bytes, str], list[KnownSegment]] = {}
        for each in resources.manifest.find_segments(
            list(dict.fromkeys((series, period) for _, series, period, _ in chunk))
        ):
            found.setdefault((each.series, each.period), []).append(each)
        for key, series, period, names in chunk:
            beginnings = {name[:NAME_PREFIX] for name in names}
            for each in found.get((series, period), ()):
                if beginnings.issubset(each.names) and (table := _taken(resources, each, names, wanted)) is not None:
                    yield key, each, table
                    break


def _part(table: pa.Table, wanted: Selection | None) -> pa.Table | InvalidRequest:
    try:
        return table if wanted is None else wanted.of(table)
    except InvalidRequest as error:  # of columns that it has not
        return error


def _taken(
    resources: Resources, held: KnownSegment, names: Sequence[bytes], wanted: Selection | None
) -> pa.Table | InvalidRequest | None:
    """Read of a segment what is wanted, of some of its partitions, verified like every entry.

    None if its file does not hold them.
    """
    try:
        # Its columns alone: which rows are whose is known by their numbers in the whole.
        columns = Selection(wanted.columns) if wanted is not None and wanted.columns is not None else None
        result = read_wanted(resources, held.entry, columns)
        if result is not None and columns is not None and contents_of(_table(result)) is None:
            result = read_entry(resources, held.entry)  # of which a part says no more what it holds
    except InvalidRequest as error:  # of columns that it has not
        return error
    if result is None:
        return None
    table = _table(result)
    contents = contents_of(table)
    taken = None if contents is None else take_partitions(without_contents(table), contents, names)
    return None if taken is None else _part(taken, wanted)


def _place(request: KeyedRequest) -> tuple[bytes, str, tuple[bytes, ...]]:
    if request.task is None:
        raise InvalidRequest("segment", "it is none")
    assigned = request.task.assigned
    return series_of(request.parts, assigned.declared), assigned.period, assigned.names


def _table(result: Any) -> pa.Table:
    return result.table if isinstance(result, MappedEntry) else encode_result(result)
