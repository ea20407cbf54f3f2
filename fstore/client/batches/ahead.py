"""The first computations of a batch begin while the rest of its requests is still taken.

Fingerprints of thousands of frames take long, and workers would wait for the last of them. What is begun is registered
as ever, row before message: a caller that dies, or is refused a later request, leaves nothing behind but results.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fstore import lazy
from fstore.client.request import KeyedRequest
from fstore.errors import BrokerUnavailable, FeatureStoreError
from fstore.features import LocalFeature
from fstore.model import Locator
from fstore.postgres import Manifest
from fstore.resources import Resources
from fstore.runtime import tracing

if TYPE_CHECKING:
    from fstore.client.enqueue import Enqueuer, is_quick_to_stage
    from fstore.client.misses import enqueuer_of
else:  # loaded by the first miss: most trainers only hit
    globals().update(lazy.functions("fstore.client.enqueue", "is_quick_to_stage"))
    globals().update(lazy.functions("fstore.client.misses", "enqueuer_of"))

FIRST, LATER = 32, 128  # requests that are begun together: few at first, so that workers start at once
MOST_BEGUN = 1024  # keys whose results nobody collects yet


@dataclass(slots=True)
class Begun:
    """What is known of a batch's keys before anybody waits for them.

    ``found`` are the entries of those that were ``looked`` for, ``made`` the keys whose jobs this call made. Of
    ``unheard`` ones among these no worker hears, for Redis is away: ``unsent`` says how.
    """

    found: dict[str, Locator] = field(default_factory=dict)
    looked: set[str] = field(default_factory=set)
    made: set[str] = field(default_factory=set)
    unheard: frozenset[str] = frozenset()
    unsent: BrokerUnavailable | None = None
    enqueuer: Enqueuer | None = None  # which knows what is staged, and what was asked for before

    def find(self, manifest: Manifest, keys: Sequence[str]) -> dict[str, Locator]:
        """Return the live entries among ``keys``, of those that were not looked for by now too."""
        rest = [key for key in keys if key not in self.looked]
        known = {key: self.found[key] for key in keys if key in self.found}
        return known | manifest.find_live_many(rest) if rest else known


class Ahead:
    """Takes the requests of a batch as they get their keys.

    Looks for entries, and has those that miss computed, some at a time. The first trouble with a server ends it: what
    follows a miss decides what to do then.
    """

    def __init__(self, resources: Resources) -> None:
        self._resources = resources
        self._waiting: dict[str, KeyedRequest] = {}
        self._size, self._is_over = FIRST, False
        self.begun = Begun()

    def add(self, request: KeyedRequest) -> None:
        """Take one more, within the deadline of whoever asks."""
        if self._is_over or request.segments or request.key in self.begun.looked:
            return
        self._waiting[request.key] = request  # one that is asked twice is begun once
        if len(self._waiting) >= self._size:
            waiting, self._waiting = self._waiting, {}
            self._size = LATER if self._size > FIRST else self._size + 1
            with tracing.span("fstore.begin", requests=str(len(waiting))):
                self._begin(waiting)

    def _begin(self, requests: dict[str, KeyedRequest]) -> None:
        begun = self.begun
        try:
            begun.found |= self._resources.manifest.find_live_many(list(requests))
            begun.looked |= requests.keys()
            missing = [one for key, one in requests.items() if key not in begun.found and _may_begin(one)]
            if not missing:
                return
            begun.enqueuer = begun.enqueuer or enqueuer_of(self._resources)
            outcome = begun.enqueuer.enqueue(missing)
        except FeatureStoreError:
            self._is_over = True
            return
        begun.made |= outcome.made
        if outcome.unsent is not None:
            begun.unheard, begun.unsent = outcome.made, outcome.unsent
        self._is_over = outcome.unsent is not None or bool(outcome.unstaged) or len(begun.made) >= MOST_BEGUN


def _may_begin(request: KeyedRequest) -> bool:
    """Tell what is sent without a look at jobs.

    What takes long to stage, and somebody else may be computing already, is left to those who look.
    """
    return not isinstance(request.feature, LocalFeature) and is_quick_to_stage(request)
