"""Once for each key: lead or follow, share the result or the error, take over from the dead.

The rules of a miss, without a server, a clock or a thread: an event comes in, actions go
out (``miss_events``; ``misses`` carries them out). ``docs/design.md`` has the rules as a
table. Of many requests a bounded number is open at once, the next as answers come.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from fstore.client.batches.ahead import Begun
from fstore.client.enqueue import is_quick_to_stage
from fstore.client.miss_events import (
    Action,
    Admitted,
    Computed,
    ComputeHere,
    ComputeUnstored,
    DeadlinePassed,
    Due,
    Event,
    FolderAway,
    Forget,
    Give,
    Look,
    PostgresAway,
    ProcessDiffers,
    RedisAway,
    Register,
    Registered,
    Resend,
    Viewed,
)
from fstore.client.miss_rules import KeyProgress, MissRules, Step, next_step, without_store
from fstore.client.request import Answer, KeyedRequest
from fstore.errors import ComputeTimeout, FeatureStoreError
from fstore.model import KeyStatus, Status

MOST_OPEN = 512
ADMITTED_AT_ONCE = 128  # the first answers of a batch should not wait until all of it is registered
KNOWN_FOR_S = 1.0
OUTAGE_PATIENCE_S = 5.0  # a restart of Postgres must not make every waiter compute for itself


class SingleFlight:
    """The requests of one call that missed, one record a key.

    Each stays until it has its answer or the deadline passes.
    """

    def __init__(
        self,
        requests: Iterable[KeyedRequest],
        *,
        rules: MissRules,
        now: float,
        seconds: float,
        known_missing: bool = False,
        begun: Begun | None = None,
    ) -> None:
        self._rules = rules
        self._begun = begun or Begun()
        self._waiting = deque(requests)
        self._open: dict[str, KeyProgress] = {}
        self._began, self._seconds = now, seconds
        # Saves a look, for a moment: who registers a job looks again.
        self._known_missing_until = now + KNOWN_FOR_S if known_missing else now
        self._resent_at = now
        self._reached_postgres_at: float | None = None

    @property
    def open_keys(self) -> tuple[str, ...]:
        """The keys that are registered or waited for now."""
        return tuple(self._open)

    def request(self, key: str) -> KeyedRequest:
        """Return the request of an open key."""
        return self._open[key].request

    def left(self, now: float) -> float:
        """Return the seconds until the caller's deadline."""
        return self._seconds - (now - self._began)

    def admit(self) -> tuple[str, ...]:
        """Open more of the requests that wait their turn, and return their keys.

        The caller reports them as ``Admitted``.
        """
        room = min(MOST_OPEN - len(self._open), len(self._waiting), ADMITTED_AT_ONCE)
        if room < min(ADMITTED_AT_ONCE, len(self._waiting)):
            return ()  # registered in numbers, not one by one as answers come
        admitted = [self._waiting.popleft() for _ in range(room)]
        made = self._begun.made
        self._open |= {request.key: KeyProgress(request, is_led=request.key in made) for request in admitted}
        return tuple(request.key for request in admitted)

    def narrowed(self, action: Action) -> Action | None:
        """Return what of an action is still to be done.

        Other actions may have answered some of its keys, or all.
        """
        if isinstance(action, Give):
            return action
        keys = self._still_open(action.keys)
        if not keys:
            rest = self._still_open(action.then_look) if isinstance(action, Register) else ()
            return Look(rest) if rest else None
        return action if keys == action.keys else replace(action, keys=keys)

    def observe(self, event: Event, *, now: float) -> list[Action]:
        """Take note of what happened, and return what is to be done next, in order."""
        actions: list[Action] = []
        match event:
            case Admitted():
                actions = self._admitted(event, now)
            case Due(keys=keys):
                actions = _looks(self._still_open(keys))
            case Viewed(views=views):
                self._reached_postgres_at = now
                actions = self._viewed(views, now)
            case Registered():
                actions = self._registered(event, now)
            case Computed(answer=Answer() as answer):
                actions = self._give(answer)
            case ProcessDiffers(key=key, settings=settings):
                why = f"this process set {', '.join(settings)}; a worker has not"
                actions = [ComputeUnstored((key,), "not stored", why)]
            case RedisAway():
                actions = self._without_redis(event)
            case PostgresAway():
                actions = self._without_postgres(event, now)
            case FolderAway(keys=keys, error=error):
                actions = self._without_store(keys, "store folder", error)
            case DeadlinePassed():
                actions = self._given_up(now)
        return actions

    def _admitted(self, event: Admitted, now: float) -> list[Action]:
        unseen, begun = list[str](), self._begun
        unheard = [key for key in event.keys if key in begun.unheard]
        if begun.unsent is not None and unheard:
            away = RedisAway(Register(tuple(unheard)), begun.unsent, tuple(unheard))
            rest = tuple(key for key in event.keys if key not in begun.unheard)
            return [*self._without_redis(away), *(self._admitted(replace(event, keys=rest), now) if rest else [])]
        if now < self._known_missing_until:
            # Who is not alone in this process lets the other register, and looks.
            unseen = [key for key in event.keys if key in event.alone and self._may_lead_unseen(key)]
        rest = tuple(key for key in event.keys if key not in set(unseen))
        return [Register(tuple(unseen), unseen=True, then_look=rest)] if unseen else _looks(rest)

    def _may_lead_unseen(self, key: str) -> bool:
        """What somebody else computes already should not be staged again at length, and not be computed here."""
        status = self._open[key]
        return not status.is_led and not status.is_local and is_quick_to_stage(status.request)

    def _viewed(self, views: Mapping[str, KeyStatus], now: float) -> list[Action]:
        given: list[Action] = []
        forgotten: list[Action] = []
        unstored: list[Action] = []
        leaderless: list[str] = []
        stale: list[str] = []
        for key, view in views.items():
            if (status := self._open.get(key)) is None:
                continue
            step, failure = next_step(status, view, self._rules)
            status.state = str(view.job.state) if view.job else "unknown"
            match step:
                case Step.SERVE:
                    how = Status.COMPUTED if status.is_led else Status.COALESCED
                    given += self._give(Answer(status.request, how, view.entry))
                case Step.TELL:
                    given += self._give(Answer(status.request, Status.COALESCED, error=failure))
                case Step.KEEP_NOTHING if failure is not None:
                    unstored += self._without_store((key,), "store folder", failure)
                case Step.OFFER_OWN:
                    status.has_offered = True
                    forgotten.append(Forget((key,)))
                    leaderless.append(key)
                case Step.LEAD_ANEW:
                    forgotten.append(Forget((key,), view.job.owner if view.job else None))
                    leaderless.append(key)
                case Step.LEAD:
                    leaderless.append(key)
                case Step.RESEND:
                    stale.append(key)
        return [*given, *unstored, *forgotten, *self._lead(leaderless), *self._resend(stale, now)]

    def _lead(self, keys: Sequence[str]) -> list[Action]:
        shared = tuple(key for key in keys if not self._open[key].is_local)
        return [*([Register(shared)] if shared else []), *self._compute_own(keys)]

    def _resend(self, keys: Sequence[str], now: float) -> list[Action]:
        if not keys or now - self._resent_at < self._rules.resend_every_s:
            return []
        self._resent_at = now
        return [Resend(tuple(keys)), *self._compute_own(keys)]

    def _compute_own(self, keys: Sequence[str]) -> list[Action]:
        return [ComputeHere((key,)) for key in keys if self._open[key].is_local]

    def _registered(self, event: Registered, now: float) -> list[Action]:
        action, outcome = event.action, event.outcome
        for key in self._still_open(outcome.made):
            self._open[key].is_led = True
        if action.unseen:
            # Whatever else went wrong decides nothing here: somebody else may be computing it, or have failed.
            if outcome.made:
                self._reached_postgres_at = now
            others = tuple(key for key in action.keys if key not in outcome.made)
            look = _looks(self._still_open((*others, *action.then_look)))
            unheard = tuple(key for key in action.keys if key in outcome.made)
        else:
            look = []
            unheard = tuple(key for key in action.keys if key not in outcome.unstaged)
        given: list[Action] = []
        if not action.unseen:
            for key, full in outcome.unstaged.items():
                given += self._without_store((key,), "store folder", full)
        if outcome.unsent is not None:
            given += self._without_redis(RedisAway(action, outcome.unsent, unheard))
        return [*given, *look]

    def _without_redis(self, event: RedisAway) -> list[Action]:
        """No worker can be asked: what was not tried here yet is computed here, under the job's lease."""
        was_tried = isinstance(event.action, ComputeHere) and event.action.cause is not None
        actions: list[Action] = []
        for key in self._still_open(event.keys):
            if was_tried or not self._rules.may_compute_here:
                actions += self._give(Answer(self.request(key), Status.COALESCED, error=event.error))
            else:
                actions.append(ComputeHere((key,), event.error))
        return actions

    def _without_postgres(self, event: PostgresAway, now: float) -> list[Action]:
        match event.action:
            case Register(unseen=True, keys=keys, then_look=rest):
                return _looks(self._still_open((*keys, *rest)))
            case Forget():
                return []  # nothing can be registered either, and that is seen to
        patience_s = min(OUTAGE_PATIENCE_S, self._seconds / 2)
        if self._reached_postgres_at is not None and now - self._reached_postgres_at < patience_s:
            return []
        return self._without_store(self.open_keys, "postgres", event.error)

    def _without_store(self, keys: Sequence[str], mode: str, cause: FeatureStoreError) -> list[Action]:
        actions: list[Action] = []
        for key in self._still_open(keys):
            action = without_store(self.request(key), mode, cause, self._rules)
            actions += self._give(action.answer) if isinstance(action, Give) else [action]
        return actions

    def _given_up(self, now: float) -> list[Action]:
        late = [(status.request, status.state) for status in self._open.values()]
        late += [(request, "unknown") for request in self._waiting]
        self._open.clear()
        self._waiting.clear()
        spent = now - self._began
        return [
            Give(Answer(request, Status.COALESCED, error=ComputeTimeout(request.key, spent, state)))
            for request, state in late
        ]

    def _give(self, answer: Answer) -> list[Action]:
        """Each key is answered exactly once."""
        return [Give(answer)] if self._open.pop(answer.request.key, None) is not None else []

    def _still_open(self, keys: Iterable[str]) -> tuple[str, ...]:
        return tuple(key for key in keys if key in self._open)


def _looks(keys: Sequence[str]) -> list[Action]:
    return [Look(tuple(keys))] if keys else []
