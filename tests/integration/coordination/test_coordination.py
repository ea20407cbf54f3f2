"""What trainers and workers tell each other through Redis: locks, hints, notes."""

from __future__ import annotations

import gc
import logging
import threading
import time
import warnings
from contextlib import suppress

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fstore.coordination import notifications
from fstore.coordination.link import RedisLink, Wire, is_about_the_value
from fstore.coordination.locks import DedupLock, DedupLocks
from fstore.coordination.notifications import MOST_STALE, Notifier, hint_channel
from fstore.coordination.usage_buffer import UsageBuffer
from fstore.errors import BrokerUnavailable
from fstore.runtime import deadline
from fstore.runtime.counters import Recorder
from tests.faults.harness.proxy import Proxy
from tests.waiting import awake_s, eventually

NOWHERE = "redis://127.0.0.1:1/0"


@pytest.fixture
def client(servers):
    opened = redis.Redis.from_url(servers.redis_url, decode_responses=True)
    opened.flushall()
    yield opened
    opened.close()


@pytest.fixture
def link(servers, client):
    opened = RedisLink(servers.redis_url)
    yield opened
    opened.close()


STEPS = st.lists(
    st.tuples(st.sampled_from(["lead", "renew", "release", "lapse"]), st.integers(0, 2)), min_size=1, max_size=25
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_nobody_touches_a_lock_that_is_not_theirs(link, client, steps):
    """Whatever three trainers do in whatever order, with locks that lapse in between: only the holder's acts count."""
    client.delete("fstore:dedup:f:k")
    trainers = [DedupLocks(link, lock_s=30) for _ in range(3)]
    held: dict[int, DedupLock] = {}  # what each believes to hold
    holder: int | None = None
    for act, who in steps:
        if act == "lapse":
            client.delete("fstore:dedup:f:k")
            holder = None
        elif act == "lead":
            lead = trainers[who].take("f", "k")
            assert (lead is not None) == (holder is None)
            if lead is not None:
                held[who], holder = lead, who
        elif who in held and act == "renew":
            client.pexpire("fstore:dedup:f:k", 20_000)
            assert trainers[who].renew(held[who]) == (holder == who)
            if holder is not None:
                assert (client.pttl("fstore:dedup:f:k") > 20_000) == (holder == who)
        elif who in held and act == "release":
            trainers[who].release(held.pop(who))
            holder = None if holder == who else holder
        assert client.get("fstore:dedup:f:k") == (held[holder].token if holder is not None else None)


def test_a_lock_is_kept_alive_while_it_is_held(link, client):
    """A leader that stages for longer than the lock lasts keeps it, and gives it back at the end."""
    locks = DedupLocks(link, lock_s=3)
    lead = locks.take("f", "k")

    with locks.holding([lead]):
        ends_at = time.monotonic() + 4
        while time.monotonic() < ends_at:
            assert locks.take("f", "k") is None
            time.sleep(0.05)

    assert client.get(lead.name) is None


def test_a_lock_whose_holder_died_lapses(link, client):
    """It has an end of its own."""
    locks = DedupLocks(link, lock_s=0.2)
    assert locks.take("f", "k")
    assert eventually(lambda: locks.take("f", "k"), seconds=2, what="the lock to lapse")


def test_a_leader_that_lost_its_lock_releases_nobody_elses(link, client):
    """The next holder's lock stays when the first one's block ends."""
    locks = DedupLocks(link, lock_s=30)
    first = locks.take("f", "k")
    with locks.holding([first]):
        client.delete(first.name)
        second = locks.take("f", "k")
    assert client.get(second.name) == second.token


@pytest.mark.parametrize("error", [redis.TimeoutError("late"), redis.ResponseError("OOM command not allowed")])
def test_a_flush_that_cannot_set_the_notes_aside_drops_none(servers, link, client, monkeypatch, error):
    """Redis may do it all the same, after it was looked for: what was not read would be dropped with the rest."""
    UsageBuffer(link).note({"a": 2}, {"hits": 2})

    run = redis.Redis.execute_command

    def fails(self: redis.Redis, *command: object, **options: object) -> object:
        if command[0] == "RENAMENX":
            raise error
        return run(self, *command, **options)

    with monkeypatch.context() as patched:
        patched.setattr(redis.Redis, "execute_command", fails)
        with pytest.raises(BrokerUnavailable):
            UsageBuffer(link).take()

    other = RedisLink(servers.redis_url)  # one that did not fail a moment ago
    notes = UsageBuffer(other).take()
    assert (notes.hits, notes.counters) == ({"a": 2}, {"hits": 2})
    other.close()


def test_a_lock_that_lapsed_and_is_anothers_is_not_prolonged(link, client):
    """Who was away for too long learns that it leads no more, and keeps nobody from leading after the other."""
    locks = DedupLocks(link, lock_s=30)
    mine = locks.take("f", "k")
    client.delete(mine.name)
    other = locks.take("f", "k")
    client.pexpire(other.name, 9_000)

    assert not locks.renew(mine)
    assert client.pttl(other.name) <= 9_000
    assert locks.renew(other)
    assert client.pttl(other.name) > 9_000


def test_an_announcement_wakes_whoever_waits(link, client):
    """Within a moment of the announcement, in every thread that watches the key."""
    notifier, woken = Notifier(link, count=lambda *_: None), []

    def wait():
        with notifier.subscribe(["k"]) as hint:
            eventually(lambda: client.pubsub_numsub(hint_channel("k"))[0][1] == 1, seconds=5, what="the subscription")
            hint.wait(0.3)  # the confirmed subscription wakes too
            ready.wait(30)
            woken.append(hint.wait(30))

    ready = threading.Barrier(4)
    threads = [threading.Thread(target=wait) for _ in range(3)]
    for thread in threads:
        thread.start()
    ready.wait(30)
    notifier.announce(["k"], {"computed": 1})
    for thread in threads:
        thread.join(60)

    assert woken == [{"k"}] * 3
    assert UsageBuffer(link).pending_counters() == {"computed": 1}
    notifier.close()


def test_channels_are_given_up_together(link, client):
    """One for each miss would take as long as asking; what is waited for is kept, and so is what is asked for again."""
    notifier = Notifier(link, count=lambda *_: None)

    def channels():
        return {name.rpartition(":")[2] for name in client.pubsub_channels("fstore:done:k*")}

    with notifier.subscribe(["kept"]) as kept:
        eventually(lambda: channels() == {"kept"}, seconds=5, what="the subscription")
        for number in range(MOST_STALE - 1):
            with notifier.subscribe([f"k{number}"]):
                eventually(lambda number=number: f"k{number}" in channels(), seconds=5, what="the subscription")
        assert len(channels()) == MOST_STALE
        with notifier.subscribe(["k0"]) as again:
            assert again.wait(30) == {"k0"}  # nobody knows what it missed
            client.publish(hint_channel("k0"), "settled")
            assert again.wait(30) == {"k0"}
            with notifier.subscribe(["k-last"]):
                eventually(lambda: "k-last" in channels(), seconds=5, what="the subscription")
            with notifier.subscribe(["k-more"]):
                eventually(lambda: "k-more" in channels(), seconds=5, what="the subscription")
            eventually(lambda: channels() == {"kept", "k0"}, seconds=5, what="the rest to be given up")
        kept.wait(0.1)
        client.publish(hint_channel("kept"), "settled")
        assert kept.wait(30) == {"kept"}
    notifier.close()


def test_a_lost_subscription_is_taken_up_again(link, client):
    """Cut off by the server, the listener comes back for every key that is still waited for, and wakes its waiters to look."""
    notifier = Notifier(link, count=lambda *_: None)
    with notifier.subscribe(["a"]) as hint, notifier.subscribe(["b"]):
        eventually(lambda: len(client.pubsub_channels("fstore:done:[ab]")) == 2, seconds=5, what="the subscription")
        hint.wait(0.3)
        client.client_kill_filter(_type="pubsub")
        assert hint.wait(30)
        eventually(lambda: len(client.pubsub_channels("fstore:done:[ab]")) == 2, seconds=10, what="a new subscription")
        hint.wait(0.3)
        client.publish(hint_channel("a"), "settled")
        assert hint.wait(30)
    notifier.close()


def test_no_connection_is_forgotten_when_many_listen_while_links_break(link, client, monkeypatch):
    """Whoever finds the link broken leaves it to the one thread that reads: two that connect would leave a socket open."""
    monkeypatch.setattr(notifications, "RECONNECT_AFTER_S", 0.1)
    notifier, over = Notifier(link, count=lambda *_: None), threading.Event()
    broken = 0

    def listen(name):
        while not over.is_set():
            with notifier.subscribe([name]) as hint:
                hint.wait(0.002)

    gc.collect()  # what other tests left is not this one's
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        threads = [threading.Thread(target=listen, args=(f"k{n}",), daemon=True) for n in range(4)]
        for thread in threads:
            thread.start()
        try:
            for _ in range(8):
                broken += eventually(lambda: client.client_kill_filter(_type="pubsub"), seconds=5, what="a connection")
        finally:
            over.set()
        for thread in threads:
            thread.join(10)
        with notifier.subscribe(["a"]) as hint:
            eventually(lambda: client.pubsub_channels(hint_channel("a")), seconds=5, what="the subscription")
            hint.wait(0.3)
            client.publish(hint_channel("a"), "settled")
            assert hint.wait(30)
        notifier.close()
        eventually(lambda: not client.client_list(_type="pubsub"), seconds=5, what="the connection to be closed")
        gc.collect()

    assert broken >= 8
    assert not [str(warning.message) for warning in told if "unclosed <socket" in str(warning.message)]


def test_a_lost_connection_stays_lost_for_everybody(link, client):
    """Also for the reading thread, which would otherwise connect again behind the backs of those that were told it is lost."""
    subscriber = link.subscriber()
    subscriber.subscribe("a")
    subscriber.is_open = True
    eventually(
        lambda: len(client.client_list(_type="pubsub")) == 1, seconds=5, what="those of other tests to be closed"
    )
    assert client.client_kill_filter(_type="pubsub") == 1

    def is_told():
        with suppress(BrokerUnavailable):
            return subscriber.subscribe("b")
        return True

    eventually(is_told, seconds=5, what="a sender to be told")
    with pytest.raises(BrokerUnavailable):
        subscriber.next(timeout_s=0.1)
    assert not subscriber.is_open
    eventually(lambda: not client.client_list(_type="pubsub"), seconds=5, what="the connection to be gone")
    subscriber.close()


def test_a_link_that_became_silent_is_given_up(servers, client):
    """A route that swallows everything ends no connection; pings without answers do."""
    with Proxy.before(servers.redis_url) as proxy:
        subscriber = RedisLink(proxy.url).subscriber()
        subscriber.subscribe("a")
        assert eventually(lambda: subscriber.next(timeout_s=0.1), seconds=5, what="the subscription")
        subscriber._pubsub.connection.next_health_check = 0.0  # it has been silent for long
        proxy.drop()

        def is_told():
            with suppress(BrokerUnavailable):
                return subscriber.next(timeout_s=0.01) is not None
            return True

        eventually(is_told, seconds=10, what="the reader to be told")
        assert not subscriber.is_open
        subscriber.close()


def test_whatever_goes_wrong_while_listening_ends_the_subscription(link, monkeypatch):
    """The reading thread goes on with another one: without it nobody would hear anything any more, and nobody would know."""
    notifier = Notifier(link, count=lambda *_: None)
    with notifier.subscribe(["a"]) as hint:
        eventually(
            lambda: notifier._subscriber is not None and notifier._subscriber.is_open, seconds=5, what="a subscription"
        )
        first = notifier._subscriber
        monkeypatch.setattr(first._pubsub, "handle_message", lambda *_, **__: {}["what another thread removed"])
        notifier.announce(["a"], {})
        eventually(
            lambda: notifier._subscriber is not first and notifier._subscriber.is_open, seconds=5, what="another one"
        )
        hint.wait(0.3)
        notifier.announce(["a"], {})
        assert hint.wait(30)
    notifier.close()


def test_watching_without_redis_takes_no_time(monkeypatch):
    """Hints are courtesy: the clock wakes the waiter as well, and Redis is tried once a second."""
    link, opened = RedisLink(NOWHERE), []
    subscriber = link.subscriber
    monkeypatch.setattr(link, "subscriber", lambda: opened.append(time.monotonic()) or subscriber())
    notifier = Notifier(link, count=lambda *_: None)
    began = time.monotonic()
    for _ in range(10):
        with notifier.subscribe(["k"]) as hint:
            hint.wait(0.01)
    assert time.monotonic() - began < 2
    assert len(opened) <= 3
    notifier.close()


def test_a_failure_is_followed_by_a_pause_not_by_a_queue(link):
    """After one failed call the next ones fail at once for a second."""
    down = RedisLink(NOWHERE)
    for _ in range(200):
        with pytest.raises(BrokerUnavailable):
            down.call("asking", lambda client: client.ping())
    assert not down.is_up()
    assert link.is_up()


def test_a_lock_is_taken_and_given_back_in_three_messages(link, monkeypatch):
    """One to take it; two to give it back, of which the second only deletes what the first one saw."""
    sent = []
    ask = Wire.ask
    monkeypatch.setattr(
        Wire, "ask", lambda wire, *commands: sent.append([each[0] for each in commands]) or ask(wire, *commands)
    )
    locks = DedupLocks(link, lock_s=30)

    lock = locks.take("f", "k")
    locks.release(lock)
    locks.release(lock)

    assert sent == [["SET"], ["WATCH", "MGET"], ["MULTI", "DEL", "EXEC"], ["WATCH", "MGET"], ["UNWATCH"]]
    assert locks.take("f", "k") is not None


def test_a_talk_goes_on_over_a_connection_that_went_stale(link, client):
    """Once, as every other call does: a server that was started again is no outage."""
    assert link.talk("greeting", lambda wire: wire.exchange(("PING",))) == [b"PONG"]
    client.client_kill_filter(_type="normal", skipme=True)
    assert link.talk("asking", lambda wire: wire.exchange(("SET", "x", "1"), ("GET", "x"))) == [b"OK", b"1"]


def test_a_talk_whose_connection_ends_in_its_middle_is_held_once_more(link, client):
    """Once, and no further: what ends again is an outage."""
    held = []

    def talk(wire):
        held.append(wire)
        if len(held) < ends:
            client.client_kill_filter(_type="normal", skipme=True)
        return wire.exchange(("PING",))

    ends = 2
    assert link.talk("asking", talk) == [b"PONG"]
    assert len(held) == 2

    held, ends = [], 9
    with pytest.raises(BrokerUnavailable):
        link.talk("asking", talk)
    assert len(held) == 2


def test_an_answer_that_nobody_read_is_nobody_elses(link):
    """A talk that breaks off leaves answers behind, and a transaction that is open; its connection is not used again."""

    def breaks_off(wire):
        wire.exchange(("WATCH", "x"), ("MULTI",))
        wire._connection.send_packed_command([b"*1\r\n$4\r\nPING\r\n"])
        raise KeyError

    with pytest.raises(KeyError):
        link.talk("breaking off", breaks_off)
    assert link.talk("asking", lambda wire: wire.exchange(("ECHO", "mine"))) == [b"mine"]


def test_an_error_of_the_server_is_told_after_all_answers_are_read(link, client):
    """As an error of Redis where it is not asked for, and in its place where it is."""
    client.set("text", "a")
    commands = (("INCR", "text"), ("SET", "after", "é\r\n"))
    with pytest.raises(BrokerUnavailable, match="not an integer"):
        link.talk("adding", lambda wire: wire.exchange(*commands))
    refused, done = link.talk("adding", lambda wire: wire.ask(*commands))
    assert is_about_the_value(refused)
    assert done == b"OK"
    assert client.get("after") == "é\r\n"


def test_a_call_that_is_nearly_due_waits_no_longer(servers, link):
    """Whatever the client's own timeouts and retries: half of what is left, at most."""
    other = redis.Redis.from_url(servers.redis_url)
    link.call("warming up", lambda client: client.ping())
    other.client_pause(20_000, all=False)  # what writes
    began = awake_s()
    try:
        with deadline.within(0.8), pytest.raises(BrokerUnavailable):
            link.call("asking", lambda client: client.set("x", 1))
        assert awake_s() - began < 1.9, "the driver's own timeout is two seconds, twice"
    finally:
        other.client_unpause()
        other.close()


def test_notes_outlive_an_outage(link, client):
    """What Redis did not take is kept and handed over later."""

    class Moody:
        down = True

        def note(self, hits, counters):
            if self.down:
                raise BrokerUnavailable("noting", "down")
            UsageBuffer(link).note(hits, counters)

    moody = Moody()
    recorder = Recorder(moody.note)
    recorder.used("k")
    recorder.count("cache_hits", 2)
    assert not recorder.flush()
    recorder.count("cache_hits")
    assert recorder.pending() == {"cache_hits": 3}

    moody.down = False
    assert eventually(recorder.flush, seconds=5, what="the notes to be taken")

    eventually(lambda: client.hget("fstore:counters", "cache_hits") == "3", seconds=5, what="the counters to arrive")
    assert client.hget("fstore:usage", "k") == "1"
    recorder.close()


def test_degraded_requests_are_counted_all_and_logged_once_a_minute(link, client, caplog):
    """A line for each of a thousand requests would hide what matters."""
    recorder = Recorder(UsageBuffer(link).note)
    with caplog.at_level(logging.WARNING):
        for n in range(50):
            recorder.degraded("redis", f"reason {n}")
        recorder.degraded("postgres", "another")
    assert [record.getMessage() for record in caplog.records] == [
        "degraded: redis: reason 0",
        "degraded: postgres: another",
    ]
    recorder.close()
    assert client.hgetall("fstore:counters") == {"degraded": "51", "degraded:redis": "50", "degraded:postgres": "1"}


def test_notes_are_handed_over_without_being_asked(link, client):
    """Half a second later they are in Redis."""
    recorder = Recorder(UsageBuffer(link).note)
    recorder.used("k")
    eventually(lambda: client.hget("fstore:usage", "k") == "1", seconds=5, what="the note to arrive")
    recorder.close()
