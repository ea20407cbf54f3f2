"""Many requests in one call: raw data fingerprinted once, few round trips, results as they come."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Sized
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal

from fstore import lazy
from fstore.client.batches.ahead import Ahead, Begun
from fstore.client.read_through import answer_requests
from fstore.client.request import Answer, KeyedRequest, Preparation, warn_of_other_source
from fstore.entries import in_form
from fstore.errors import FeatureStoreError, InvalidRequest
from fstore.model import Entry, EntryState, Request, Status
from fstore.projection import Selection
from fstore.resources import Resources
from fstore.results import Returns
from fstore.runtime import deadline, tracing

if TYPE_CHECKING:
    from fstore.client.partitions.composition import Composition, composition_of
else:  # most features declare no partitions
    globals().update(lazy.functions("fstore.client.partitions.composition", "composition_of"))

PEEKED_AT_ONCE = 1000
# Containers that hold their items, and run nobody's code to give them.
STILL: tuple[type, ...] = (list, tuple, deque, type({}.values()))


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a batch is: first ``"fingerprints"`` are taken, then ``"results"`` come.

    ``total`` is None while nobody can know it.
    """

    phase: Literal["fingerprints", "results"]
    done: int
    total: int | None
    hits: int = 0
    computed: int = 0
    failed: int = 0

    def __str__(self) -> str:
        return f"{self.done} of {self.total}: {self.hits} hits, {self.computed} computed, {self.failed} failed"


def get_or_compute_many(
    resources: Resources,
    requests: Iterable[Request],
    *,
    seconds: float,
    returns: Returns,
    wanted: Selection | None = None,
    progress: bool | Callable[[Progress], object],
    errors: Literal["raise", "return"],
) -> Iterator[tuple[Request, Any]]:
    """Take all requests, then return an iterator of ``(request, frame)`` as results come.

    See ``FeatureStore.get_or_compute_many``.
    """
    if errors not in ("raise", "return"):
        raise InvalidRequest("errors", f"is {errors!r:.40}; choose 'raise' or 'return'")
    requests = _checked(requests)
    began = time.monotonic()
    preparation = Preparation(resources, shares=_is_still(requests), copies=not _is_still(requests))
    request_of: dict[int, Request] = {}
    prepared: list[KeyedRequest] = []
    refused: list[tuple[Request, FeatureStoreError]] = []
    total = len(requests) if isinstance(requests, Sized) else None
    ahead = Ahead(resources)
    with _told(progress) as tell:
        for request in requests:
            tell(Progress("fingerprints", len(prepared) + len(refused), total, failed=len(refused)))
            try:
                with deadline.within(seconds - (time.monotonic() - began)):
                    keyed = _prepared(preparation, request)
                    ahead.add(keyed)
            except FeatureStoreError as error:
                if errors == "raise":
                    raise error.with_traceback(None) from error.__cause__
                refused.append((request, error))
                continue
            request_of[id(keyed)] = request
            prepared.append(keyed)
    left_s = seconds - (time.monotonic() - began)

    def answers() -> Iterator[tuple[Request, Any]]:
        yield from refused
        counted = Counter(failed=len(refused))
        with _told(progress) as tell:
            for answer in _answers(resources, prepared, left_s, wanted, ahead.begun):
                value: Any = answer.error
                if value is None:
                    try:
                        value = in_form(answer.result, returns)
                    except FeatureStoreError as error:
                        value = error
                is_failure = isinstance(value, FeatureStoreError)
                counted["failed" if is_failure else "hits" if answer.status is Status.HIT else "computed"] += 1
                tell(Progress("results", counted.total(), len(prepared) + len(refused), **counted))
                if errors == "raise" and is_failure:
                    raise value.with_traceback(None)
                yield request_of[id(answer.request)], value

    return answers()


def peek(resources: Resources, request: KeyedRequest) -> Entry | Composition | None:
    """Return what would answer a request, or None; computes nothing."""
    if request.segments:
        found = composition_of(resources, request)
    else:
        entry = resources.manifest.find_entry(request.key)
        found = entry if entry is not None and entry.state is EntryState.LIVE else None
    for entry in (found,) if isinstance(found, Entry) else found.entries if found is not None else ():
        warn_of_other_source(resources.manifest, request.feature, entry)
    return found


def peek_many(
    resources: Resources, requests: Iterable[Request]
) -> Iterator[tuple[Request, Entry | Composition | None]]:
    """Take all requests, then return an iterator of each with what answers it, or None.

    See ``FeatureStore.peek_many``.
    """
    requests = _checked(requests)
    preparation = Preparation(resources, shares=_is_still(requests), holds=False)
    waiting = iter([(request, _prepared(preparation, request)) for request in requests])

    def answers() -> Iterator[tuple[Request, Entry | Composition | None]]:
        while chunk := list(islice(waiting, PEEKED_AT_ONCE)):
            found = resources.manifest.find_live_entries([keyed.key for _, keyed in chunk])
            for request, keyed in chunk:
                if keyed.segments:
                    yield request, peek(resources, keyed)
                    continue
                entry = found.get(keyed.key)
                if entry is not None:
                    warn_of_other_source(resources.manifest, keyed.feature, entry)
                yield request, entry

    return answers()


def _answers(
    resources: Resources, requests: Sequence[KeyedRequest], seconds: float, wanted: Selection | None, begun: Begun
) -> Iterator[Answer]:
    found = answer_requests(resources, requests, seconds=seconds, wanted=wanted, begun=begun)
    answers = deadline.each_within(found, seconds)
    return tracing.each("fstore.get_or_compute_many", answers, requests=str(len(requests)))


@contextmanager
def _told(progress: bool | Callable[[Progress], object]) -> Iterator[Callable[[Progress], object]]:
    """Return whom to tell of progress: the caller's own function, a bar, or nobody."""
    if not isinstance(progress, bool):
        yield progress
        return
    if not progress:
        yield lambda _: None
        return
    # A terminal library is no business of a trainer that shows no bar.
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn  # noqa: PLC0415
    from rich.progress import Progress as Bar  # noqa: PLC0415

    columns = (TextColumn("features: {task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Bar(*columns, transient=True) as bar:
        task = bar.add_task("")
        last: Progress | None = None

        def tell(now: Progress) -> None:
            nonlocal last
            last = now
            bar.update(task, description=now.phase, completed=now.done, total=now.total)

        yield tell
    if last is not None and last.phase == "results":
        bar.console.print(f"features: {last}")


def _checked(requests: Iterable[Request]) -> Iterable[Request]:
    if isinstance(requests, Iterable) and not isinstance(requests, Request | str | Mapping):
        return requests
    raise InvalidRequest(
        "requests",
        f"{type(requests).__name__} is no list of requests; write [fstore.Request(symbol, raw_data, config, feature)]",
    )


def _prepared(preparation: Preparation, request: Request) -> KeyedRequest:
    if not isinstance(request, Request):
        raise InvalidRequest(
            "requests",
            f"{type(request).__name__} is no request; write fstore.Request(symbol, raw_data, config, feature)",
        )
    return preparation.prepare(request.symbol, request.raw_data, request.config, request.feature)


def _is_still(requests: Iterable[Request]) -> bool:
    """Tell whether nobody's code runs between two requests.

    That of an iterator may refill a buffer it gave before.
    """
    return type(requests) in STILL
