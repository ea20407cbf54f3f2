"""The rules of a miss, row by row as in docs/design.md: what happened, what was known, what is done."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import fstore
from fstore.client.enqueue import QUICK_TO_STAGE_CELLS, Enqueued
from fstore.client.miss_events import (
    Action,
    Admitted,
    Computed,
    ComputeHere,
    ComputeUnstored,
    DeadlinePassed,
    Done,
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
from fstore.client.miss_rules import MissRules
from fstore.client.request import Answer, KeyedRequest
from fstore.client.singleflight import (
    ADMITTED_AT_ONCE,
    KNOWN_FOR_S,
    MOST_OPEN,
    OUTAGE_PATIENCE_S,
    SingleFlight,
)
from fstore.compute.failures import note_of
from fstore.errors import (
    BrokerUnavailable,
    ComputeDead,
    ComputeFailed,
    ComputeTimeout,
    FeatureStoreError,
    ManifestUnavailable,
    SourceChanged,
    SourceNotAllowed,
    StorageFull,
    VersionMismatch,
)
from fstore.features.declarations import Feature
from fstore.fingerprint.sources import open_raw
from fstore.model import (
    Fingerprint,
    HashMethod,
    Job,
    JobState,
    KeyParts,
    KeyStatus,
    Locator,
    ParquetSource,
    Status,
)
from fstore.settings.data_roots import DataRoot, NamedRoot

RAW = pd.DataFrame({"x": [1.0, 2.0]})
REDIS, POSTGRES, FULL = BrokerUnavailable("send", "away"), ManifestUnavailable("look", "away"), StorageFull("e", "full")


RESEND_EVERY_S = 3.0  # not what the settings have


def key_of(n: int) -> str:
    return f"{n:064x}"


k0, k1, k2, k3, k4 = map(key_of, range(5))
THEN = datetime(2026, 1, 2, tzinfo=UTC)


def doubled(raw: Any, config: Any) -> Any:
    return raw * 2


def request(key: str = k1, *, local: bool = False, raw: Any = RAW, source: str = "mine") -> KeyedRequest:
    feature = (
        fstore.local(doubled, version="1", name="tests:doubled")
        if local
        else Feature("m:doubled", doubled, "1", source, True, "pandas")
    )
    return KeyedRequest(
        key,
        KeyParts("S", "m:doubled", "1", "{}", f"b3m2:{'aa' * 32}"),
        feature,
        open_raw(raw),
        Fingerprint(HashMethod.FULL, "aa" * 32),
    )


def view(key: str = k1, state: JobState | None = None, **job: Any) -> KeyStatus:
    """Return a key as a look finds it: nothing there, unless a job's state is given."""
    given = {"attempt": 1, "starts": 1, "owner": "o1", "lapsed": False, "remembered": False}
    times = {"requested_ts": THEN, "started_ts": None, "finished_ts": None}
    if "failure" in job:
        job["failure"] = note_of(job["failure"])
    made = Job(key=key, state=state, **{**given, **times, "failure": None, **job}) if state else None
    return KeyStatus(key, None, False, made)


def failed(error: Exception, *, remembered: bool = True, key: str = k1) -> KeyStatus:
    return view(key, JobState.FAILED, failure=error, remembered=remembered)


def live(key: str = k1) -> KeyStatus:
    return KeyStatus(key, ENTRY, False, None)


ENTRY = Locator(k1, "entries/00/1.parquet", 2, 10, "ab")


class Flight:
    """A flight whose clock the test holds; its first requests are open, and nobody has looked yet."""

    def __init__(
        self,
        *requests: KeyedRequest,
        known_missing: bool = False,
        allowed: bool = True,
        seconds: float = 60,
        roots: Sequence[DataRoot] = (),
    ):
        rules = MissRules(may_compute_here=allowed, resend_every_s=RESEND_EVERY_S, data_roots=roots)
        self.now = 100.0
        self.flight = SingleFlight(requests, rules=rules, now=self.now, seconds=seconds, known_missing=known_missing)
        self.opened = self.flight.admit()

    def after(self, event: Event, *, seconds: float = 0.0) -> list[Action]:
        self.now += seconds
        return self.flight.observe(event, now=self.now)

    def seen(self, *views: KeyStatus, seconds: float = 0.0) -> list[Action]:
        return self.after(Viewed({view.key: view for view in views}), seconds=seconds)


def given(actions: list[Action]) -> list[Answer]:
    assert all(isinstance(action, Give) for action in actions), actions
    return [action.answer for action in actions if isinstance(action, Give)]


def error_in(actions: list[Action]) -> FeatureStoreError | None:
    (answer,) = given(actions)
    assert answer.result is None
    assert answer.entry is None
    return answer.error


def lead(flight: Flight, *keys: str) -> None:
    """Have the flight lead keys that nobody computed."""
    (register,) = flight.seen(*map(view, keys))
    assert register == Register(keys)
    assert flight.after(Registered(register, Enqueued(frozenset(keys)))) == []


# ------------------------------------------------------------------- opened


def test_what_was_opened_is_looked_at():
    """Unless it is known to be missing, an entry or a job may be there."""
    flight = Flight(request(k1), request(k2))

    assert flight.after(Admitted((k1, k2), frozenset({k1, k2}))) == [Look((k1, k2))]


def test_what_is_known_to_be_missing_is_registered_without_a_look():
    """Who is not alone in its process lets the other register; large and local ones are looked at first."""
    large = pd.DataFrame(0.0, index=range(QUICK_TO_STAGE_CELLS + 1), columns=["x"])
    flight = Flight(request(k1), request(k2), request(k3, local=True), request(k4, raw=large), known_missing=True)

    assert flight.after(Admitted((k1, k2, k3, k4), frozenset({k1, k3, k4}))) == [
        Register((k1,), unseen=True, then_look=(k2, k3, k4))
    ]


def test_what_was_known_a_while_ago_is_looked_at():
    """What is opened late in a batch may have been computed by somebody else."""
    flight = Flight(request(), known_missing=True)

    assert flight.after(Admitted((k1,), frozenset({k1})), seconds=KNOWN_FOR_S) == [Look((k1,))]


def test_a_bounded_number_is_open():
    """Further ones are opened in numbers, as answers make room for them."""
    flight = Flight(*(request(key_of(n)) for n in range(1000)))
    rounds = [flight.opened, *(flight.flight.admit() for _ in range(5))]
    assert [len(keys) for keys in rounds] == [ADMITTED_AT_ONCE] * (MOST_OPEN // ADMITTED_AT_ONCE) + [0, 0]

    given(flight.seen(*(live(key_of(n)) for n in range(ADMITTED_AT_ONCE - 1))))
    assert flight.flight.admit() == ()
    given(flight.seen(live(key_of(ADMITTED_AT_ONCE))))
    assert len(flight.flight.admit()) == ADMITTED_AT_ONCE


# ------------------------------------------------------------------- looked


def test_an_entry_answers():
    """Whoever led had it computed, everybody else shares it."""
    flight = Flight(request(k1), request(k2))
    lead(flight, k1)

    found = given(flight.seen(live(k1), live(k2)))

    assert [(answer.request.key, answer.status, answer.entry) for answer in found] == [
        (k1, Status.COMPUTED, ENTRY),
        (k2, Status.COALESCED, ENTRY),
    ]
    assert flight.flight.open_keys == ()


def test_a_key_is_answered_once():
    """Whatever is heard of it afterwards, and whatever is still to be done for it, comes too late."""
    flight = Flight(request())
    given(flight.seen(live()))

    assert flight.seen(live()) == []
    assert flight.after(Computed(k1, Answer(request(), Status.COMPUTED, result=RAW))) == []
    assert flight.after(Due((k1,))) == []
    assert flight.after(RedisAway(Resend((k1,)), REDIS, (k1,))) == []
    assert flight.flight.narrowed(ComputeHere((k1,))) is None
    assert flight.after(DeadlinePassed()) == []


def test_what_nobody_computes_is_led():
    """Together for all of them, so that it takes few round trips."""
    flight = Flight(request(k1), request(k2))

    assert flight.seen(view(k1), failed(ValueError(), remembered=False, key=k2)) == [Register((k1, k2))]


def test_a_local_feature_is_computed_here():
    """No worker knows it; those that one knows are registered first, and computed meanwhile."""
    flight = Flight(request(k1, local=True), request(k2))

    assert flight.seen(view(k1), view(k2)) == [Register((k2,)), ComputeHere((k1,))]


def test_a_failure_is_shared_while_it_is_remembered():
    """Newcomers are told what the function raised."""
    error = error_in(Flight(request()).seen(failed(ValueError("row 17"))))

    assert isinstance(error, ComputeFailed)
    assert "row 17" in str(error)


@pytest.mark.parametrize("state", [JobState.QUEUED, JobState.RUNNING])
def test_a_failure_is_told_to_who_waited_for_it_however_old_it_is(state):
    """A short memory must not make slow waiters start it again and again."""
    flight = Flight(request(k1), request(k2))
    flight.seen(view(k1, state))
    lead(flight, k2)

    found = given(flight.seen(*(failed(ValueError(), remembered=False, key=key) for key in (k1, k2))))

    assert [type(answer.error) for answer in found] == [ComputeFailed] * 2


def test_a_dead_job_is_told():
    """It ended its worker three times, and is not tried again."""
    error = error_in(Flight(request()).seen(view(state=JobState.DEAD, starts=3, owner="o3")))

    assert isinstance(error, ComputeDead)


def test_anothers_refusal_is_passed_over():
    """A worker refused the source of whoever led; the very note is dropped, and this caller leads."""
    refusal = VersionMismatch("m:doubled", "1", "1", {"source_digest": "theirs", "input": "pandas"}, {})
    flight = Flight(request(source="mine"))

    assert flight.seen(failed(refusal)) == [Forget((k1,), "o1"), Register((k1,))]


def test_ones_own_refusal_is_told():
    """Asking again would be refused again."""
    refusal = VersionMismatch("m:doubled", "1", "1", {"source_digest": "mine", "input": "pandas"}, {})

    assert isinstance(error_in(Flight(request(source="mine")).seen(failed(refusal))), VersionMismatch)


@pytest.mark.parametrize("error", [SourceChanged("/theirs", "gone"), SourceNotAllowed("/theirs", ["/data"])])
@pytest.mark.parametrize("raw", [RAW, ParquetSource("/mine")])
def test_who_has_the_data_elsewhere_offers_them_once(error, raw):
    """Data that failed on their way say nothing of the computation; a second failure is told."""
    flight = Flight(request(raw=raw))

    assert flight.seen(failed(error)) == [Forget((k1,)), Register((k1,))]
    assert type(error_in(flight.seen(failed(error)))) is type(error)


def test_who_has_them_at_the_same_place_is_told():
    """There is nothing else to offer."""
    flight = Flight(request(raw=ParquetSource("/data/a.parquet")))

    assert isinstance(error_in(flight.seen(failed(SourceChanged("/data/a.parquet", "gone")))), SourceChanged)


def test_who_has_them_at_the_same_named_place_is_told():
    """A worker speaks of the file by its root's name, wherever it lies there; it is the caller's all the same."""
    flight = Flight(request(raw=ParquetSource("/data/a.parquet")), roots=(NamedRoot("ticks", Path("/data")),))

    assert isinstance(error_in(flight.seen(failed(SourceChanged("ticks:a.parquet", "gone")))), SourceChanged)


def test_what_a_worker_cannot_store_is_computed_here():
    """A full folder is no failure of the computation."""
    assert Flight(request()).seen(failed(FULL)) == [ComputeUnstored((k1,), "store folder", str(FULL))]
    assert isinstance(error_in(Flight(request(), allowed=False).seen(failed(FULL))), StorageFull)


def test_a_failure_without_a_note_is_not_led_while_it_is_remembered():
    """It is told to nobody, and starts nothing for a while."""
    assert Flight(request()).seen(view(state=JobState.FAILED, remembered=True)) == []


def test_what_runs_is_waited_for():
    """Its worker renews the lease."""
    assert Flight(request()).seen(view(state=JobState.RUNNING), seconds=30) == []


@pytest.mark.parametrize("seen", [view(state=JobState.QUEUED), view(state=JobState.RUNNING, lapsed=True)])
def test_what_may_be_lost_is_sent_again_now_and_then(seen):
    """A message or a worker was lost, perhaps: Postgres knows, and lets one of many send."""
    flight = Flight(request())

    assert flight.seen(seen) == []
    assert flight.seen(seen, seconds=RESEND_EVERY_S - 0.5) == []
    assert flight.seen(seen, seconds=0.5) == [Resend((k1,))]
    assert flight.seen(seen) == []
    assert flight.seen(seen, seconds=RESEND_EVERY_S) == [Resend((k1,))]


def test_a_local_feature_whose_caller_died_is_taken_over_here():
    """Its message can be sent to nobody."""
    flight = Flight(request(local=True))
    stale = view(state=JobState.RUNNING, lapsed=True)

    assert flight.seen(stale, seconds=RESEND_EVERY_S) == [Resend((k1,)), ComputeHere((k1,))]


def test_several_keys_go_several_ways_at_one_look():
    """Answers come first, then what others wait for."""
    flight = Flight(*(request(key_of(n)) for n in range(1, 5)))

    actions = flight.seen(view(k1), live(k2), view(k3, JobState.QUEUED), failed(FULL, key=k4), seconds=5)

    assert [type(action) for action in actions] == [Give, ComputeUnstored, Register, Resend]


# --------------------------------------------------------------- registered


def test_who_does_not_lead_follows():
    """Somebody else holds the dedup lock, or had made the job: it is looked at when it is due."""
    flight = Flight(request())
    (register,) = flight.seen(view())

    assert flight.after(Registered(register, Enqueued())) == []  # type: ignore[arg-type]
    assert flight.after(Due((k1, "of another call"))) == [Look((k1,))]
    assert given(flight.seen(live()))[0].status is Status.COALESCED


def test_who_registered_unseen_and_does_not_lead_looks_at_once():
    """There may be an entry by now, or a failure that is remembered."""
    flight = Flight(request(k1), request(k2), request(k3), known_missing=True)
    register = Register((k1, k2), unseen=True, then_look=(k3,))

    assert flight.after(Registered(register, Enqueued(frozenset({k1}), {k2: FULL}))) == [Look((k2, k3))]
    assert given(flight.seen(live(k1)))[0].status is Status.COMPUTED


def test_data_that_cannot_be_staged_are_computed_from_here():
    """The others of the same attempt are led."""
    flight = Flight(request(k1), request(k2))
    register = Register((k1, k2))

    actions = flight.after(Registered(register, Enqueued(frozenset({k1}), {k2: FULL})))

    assert actions == [ComputeUnstored((k2,), "store folder", str(FULL))]


@pytest.mark.parametrize("made", [frozenset[str](), frozenset({k1})])
def test_without_redis_it_is_computed_here_under_the_jobs_lease(made):
    """Before a job was made or after: no worker hears of it."""
    register = Register((k1,))

    assert Flight(request()).after(Registered(register, Enqueued(made, unsent=REDIS))) == [ComputeHere((k1,), REDIS)]
    assert error_in(Flight(request(), allowed=False).after(Registered(register, Enqueued(made, unsent=REDIS)))) is REDIS


def test_without_redis_nothing_is_decided_unseen_but_what_became_ones_own():
    """Somebody else may be computing the others, or have failed."""
    flight = Flight(request(k1), request(k2), known_missing=True)
    register = Register((k1, k2), unseen=True)

    assert flight.after(Registered(register, Enqueued(unsent=REDIS))) == [Look((k1, k2))]
    assert flight.after(Registered(register, Enqueued(frozenset({k1}), unsent=REDIS))) == [
        ComputeHere((k1,), REDIS),
        Look((k2,)),
    ]


def test_without_redis_what_was_lost_is_computed_here():
    """The jobs that this call took in order to send them again; others are waited for."""
    flight = Flight(request(k1), request(k2))

    assert flight.after(RedisAway(Resend((k1, k2)), REDIS, (k2,))) == [ComputeHere((k2,), REDIS)]


# ----------------------------------------------------------- computed here


def test_what_was_computed_here_answers():
    """With its entry, its bare result or its error."""
    answer = Answer(request(), Status.COMPUTED, result=RAW, not_stored=FULL)

    assert Flight(request()).after(Computed(k1, answer)) == [Give(answer)]


def test_whose_claim_is_held_by_somebody_else_is_waited_for():
    """The lease may lapse, and then it is tried again, without Redis as well."""
    flight = Flight(request())
    assert flight.after(Computed(k1, None)) == []

    assert flight.seen(view(state=JobState.RUNNING, lapsed=True), seconds=5) == [Resend((k1,))]
    assert flight.after(RedisAway(Resend((k1,)), REDIS, (k1,))) == [ComputeHere((k1,), REDIS)]


def test_a_process_that_set_what_a_worker_has_not_keeps_nothing():
    """The key says nothing of it."""
    (action,) = Flight(request()).after(ProcessDiffers(k1, ("the decimal context", "the locale")))

    assert isinstance(action, ComputeUnstored)
    assert action.mode == "not stored"
    assert "the decimal context, the locale" in action.why


def test_a_local_result_that_no_worker_can_be_told_of_is_computed_without_redis():
    """But only once: an error that comes back is told."""
    flight = Flight(request(local=True))

    assert flight.after(RedisAway(ComputeHere((k1,)), REDIS, (k1,))) == [ComputeHere((k1,), REDIS)]
    assert error_in(flight.after(RedisAway(ComputeHere((k1,), REDIS), REDIS, (k1,)))) is REDIS


def test_without_a_folder_it_is_computed_and_kept_nowhere():
    """Each time it is counted."""
    assert Flight(request()).after(FolderAway((k1,), FULL)) == [ComputeUnstored((k1,), "store folder", str(FULL))]
    assert error_in(Flight(request(), allowed=False).after(FolderAway((k1,), FULL))) is FULL


# ------------------------------------------------------------ Postgres away


def test_without_postgres_everything_open_is_computed_here():
    """Nobody can register, claim or publish."""
    flight = Flight(request(k1), request(k2))

    assert flight.after(PostgresAway(Look((k1,)), POSTGRES)) == [
        ComputeUnstored((key,), "postgres", str(POSTGRES)) for key in (k1, k2)
    ]


def test_without_postgres_and_leave_it_is_an_error():
    """``on_unavailable="raise"``."""
    flight = Flight(request(k1), request(k2), allowed=False)

    found = given(flight.after(PostgresAway(Look((k1,)), POSTGRES)))

    assert [answer.error for answer in found] == [POSTGRES] * 2


@pytest.mark.parametrize(("seconds", "patience_s"), [(60.0, OUTAGE_PATIENCE_S), (4.0, 2.0)])
def test_a_restart_of_postgres_is_waited_for(seconds, patience_s):
    """For as long as it takes, or half of the caller's time."""
    flight = Flight(request(), seconds=seconds)
    flight.seen(view(state=JobState.RUNNING))

    assert flight.after(PostgresAway(Look((k1,)), POSTGRES), seconds=patience_s * 0.9) == []
    assert flight.after(PostgresAway(Look((k1,)), POSTGRES), seconds=patience_s * 0.2) != []


def test_without_postgres_nothing_is_decided_unseen():
    """The look that follows finds out."""
    flight = Flight(request(k1), request(k2), known_missing=True)
    register = Register((k1,), unseen=True, then_look=(k2,))

    assert flight.after(PostgresAway(register, POSTGRES)) == [Look((k1, k2))]


def test_a_note_that_cannot_be_dropped_decides_nothing():
    """Nothing can be registered either, and that is seen to."""
    assert Flight(request()).after(PostgresAway(Forget((k1,)), POSTGRES)) == []


# ----------------------------------------------------------------- the end


def test_at_the_deadline_everybody_is_told_how_far_it_was():
    """Also those whose turn never came."""
    flight = Flight(*(request(key_of(n)) for n in range(ADMITTED_AT_ONCE + 1)), seconds=20)
    flight.seen(view(k0, JobState.RUNNING))

    found = given(flight.after(DeadlinePassed(), seconds=20))

    errors = [answer.error for answer in found]
    assert all(isinstance(error, ComputeTimeout) for error in errors)
    assert [str(error) for error in errors if "running" in str(error)] == [str(errors[0])]
    assert len(found) == ADMITTED_AT_ONCE + 1
    assert flight.flight.left(flight.now) == 0
    assert flight.flight.admit() == ()


def test_an_action_is_narrowed_to_what_is_still_open():
    """What was answered meanwhile need not be done."""
    flight = Flight(request(k1), request(k2), request(k3))
    given(flight.seen(live(k1)))

    assert flight.flight.narrowed(Look((k1, k2))) == Look((k2,))
    assert flight.flight.narrowed(Register((k1,), unseen=True, then_look=(k3,))) == Look((k3,))
    assert flight.after(Done()) == []


def test_the_rules_know_no_server():
    """They import no adapter but for its records, and no clock."""
    for module in ("singleflight", "miss_rules", "miss_events"):
        text = (Path(fstore.__file__).parent / "client" / f"{module}.py").read_text()
        assert "import time" not in text
        assert "Resources" not in text
