"""Redis: wakes waiters when a computation ends, through one pub/sub connection a process.

A hint may be lost; whoever waits polls the manifest as well. It only makes the
answer arrive a few milliseconds after the commit instead of up to a second.
"""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress

from fstore.coordination.link import PREFIX, RedisLink, Subscriber
from fstore.coordination.usage_buffer import COUNTERS
from fstore.errors import BrokerUnavailable
from fstore.runtime.fork_safety import forget_in_children


def hint_channel(key: str) -> str:
    """Return the channel on which the end of ``key``'s computation is announced."""
    return f"{PREFIX}done:{key}"


def key_of_channel(channel: str) -> str:
    """Return the key that a hint's channel is about."""
    return channel.rpartition(":")[2]


IDLE_CHANNEL = hint_channel("-")  # keeps the connection subscribed while nobody waits
MOST_STALE = (
    32  # channels that nobody waits on any more and that are left together: a talk for each takes as long as asking
)
RECONNECT_AFTER_S = 1.0  # at the earliest after it was opened the last time


class Subscription:
    """What one waiter listens for; ``wait`` tells which keys it heard of."""

    def __init__(self, notifier: Notifier) -> None:
        self._notifier = notifier
        self._event = threading.Event()
        self._guard = threading.Lock()
        self._heard: dict[str, bool] = {}  # whether it was announced, or only listened for from now on
        self._keys: set[str] = set()

    def add(self, keys: Iterable[str]) -> set[str]:
        """Listen for more keys, and return those that nobody else here listens for.

        They are subscribed on return, if Redis is up.
        """
        fresh = set(keys) - self._keys
        self._keys |= fresh
        return self._notifier._listen_for(fresh, self)

    def drop(self, keys: Iterable[str]) -> None:
        """Listen for these no longer."""
        stale = self._keys & set(keys)
        self._keys -= stale
        self._notifier._forget(stale, self)

    def wait(self, timeout_s: float) -> set[str]:
        """Wait until one of the keys may be settled, at most ``timeout_s``.

        Returns those that may be, none when time is up.
        """
        self._event.wait(timeout_s)
        with self._guard:
            self._event.clear()
            heard, self._heard = self._heard, {}
        return heard.keys() & self._keys

    def acknowledge(self, keys: Iterable[str]) -> None:
        """Say that nothing was missed before these keys were listened for.

        That alone need not wake the waiter then. To be said by whoever registered their jobs, before any worker
        hears of them.
        """
        with self._guard:
            for key in keys:
                if self._heard.get(key) is False:
                    del self._heard[key]
            if not self._heard:
                self._event.clear()

    def close(self) -> None:
        """Listen for nothing any more."""
        self.drop(set(self._keys))

    def notify(self, key: str, *, announced: bool = True) -> None:
        """Note that ``key`` may be settled, or may have been before it was listened for, and wake the waiter."""
        with self._guard:
            self._heard[key] = announced or self._heard.get(key, False)
            self._event.set()


class Notifier:
    """Tells waiters what is settled, and listens for them.

    One thread a process listens, started by the first waiter; a forked child starts its own.
    """

    def __init__(self, link: RedisLink, *, count: Callable[[str, int], None]) -> None:
        self._link = link
        self._count = count
        self._closed = False
        self.forget_after_fork()
        forget_in_children(self)

    def forget_after_fork(self) -> None:
        """Begin without a thread and without waiters.

        A forked child has neither the thread nor a right to the socket.
        """
        self._guard = threading.Lock()
        self._order = threading.Lock()  # a subscription must not be overtaken by an older end of one
        self._waiting: dict[str, list[Subscription]] = defaultdict(list)
        self._stale: set[str] = set()  # subscribed still, and waited for by nobody
        self._subscriber: Subscriber | None = None
        self._running = False

    @contextmanager
    def subscribe(self, keys: Iterable[str] = ()) -> Iterator[Subscription]:
        """Listen for ``keys``, and others added later, while the block runs."""
        subscription = Subscription(self)
        try:
            subscription.add(keys)
            yield subscription
        finally:
            subscription.close()

    def announce(self, keys: Sequence[str], counters: Mapping[str, int]) -> None:
        """Count what was done and tell waiters that these keys are settled, in that order and one round trip.

        Without Redis it is only counted, by whoever was given for that: waiters poll anyway.
        """

        told: list[tuple[str, ...]] = [("HINCRBY", COUNTERS, name, str(n)) for name, n in counters.items()]
        told += [("PUBLISH", hint_channel(key), "settled") for key in keys]
        try:
            self._link.talk("announcing results", lambda wire: wire.exchange(*told))
        except BrokerUnavailable:
            for name, n in counters.items():
                self._count(name, n)

    def close(self) -> None:
        """Stop listening."""
        self._closed = True
        with self._guard:
            subscriber, self._subscriber = self._subscriber, None
        if subscriber is not None and subscriber.is_open:
            with suppress(BrokerUnavailable):
                subscriber.subscribe(IDLE_CHANNEL + "close")  # wakes the reader, which then sees that it is closed

    def _start(self) -> None:
        if not self._running and not self._closed:
            self._running = True
            self._subscriber = self._link.subscriber()
            threading.Thread(target=self._listen, args=(self._subscriber,), name="fstore-hints", daemon=True).start()

    def _listen_for(self, keys: Iterable[str], subscription: Subscription) -> set[str]:
        with self._order:
            with self._guard:
                fresh = {key for key in keys if key not in self._waiting}
                for key in keys:
                    self._waiting[key].append(subscription)
                self._start()
                subscriber, kept = self._subscriber, fresh & self._stale
                self._stale -= kept
            if subscriber is not None and subscriber.is_open and fresh > kept:
                with suppress(BrokerUnavailable):
                    subscriber.subscribe(*map(hint_channel, fresh - kept))
        for key in kept:  # as a confirmed subscription does: what came before now went to nobody
            subscription.notify(key, announced=False)
        return fresh

    def _forget(self, keys: Iterable[str], subscription: Subscription) -> None:
        with self._order:
            with self._guard:
                subscriber = self._subscriber
                is_open = subscriber is not None and subscriber.is_open
                for key in keys:
                    waiting = self._waiting.get(key)
                    if waiting and subscription in waiting:
                        waiting.remove(subscription)
                        if not waiting:
                            del self._waiting[key]
                            if is_open:
                                self._stale.add(key)
                if len(self._stale) < MOST_STALE:
                    return
                stale, self._stale = self._stale, set()
            if subscriber is not None and subscriber.is_open:
                with suppress(BrokerUnavailable):
                    subscriber.unsubscribe(*map(hint_channel, stale))

    def _listen(self, subscriber: Subscriber) -> None:
        pause = threading.Event()
        while not self._closed:
            opened_at = time.monotonic()
            try:
                with self._guard:
                    known = set(self._waiting)
                    self._stale.clear()  # this connection never heard of them
                subscriber.subscribe(IDLE_CHANNEL, *map(hint_channel, known))
                subscriber.is_open = True
                with self._guard:
                    missed = self._waiting.keys() - known
                if missed:
                    subscriber.subscribe(*map(hint_channel, missed))
                while not self._closed:
                    heard = subscriber.next(timeout_s=1.0)
                    if heard is not None:
                        self._wake(*heard)
            except BrokerUnavailable:
                subscriber.is_open = False
                self._wake_all()
                pause.wait(max(0.0, opened_at + RECONNECT_AFTER_S - time.monotonic()))
                subscriber.close()
                subscriber = self._link.subscriber()
                with self._guard:
                    self._subscriber = subscriber
        subscriber.close()

    def _wake(self, kind: str, channel: str) -> None:
        # A confirmed subscription wakes too: what happened before it may have been missed.
        key = key_of_channel(channel)
        with self._guard:
            for subscription in self._waiting.get(key, ()):
                subscription.notify(key, announced=kind == "message")

    def _wake_all(self) -> None:
        with self._guard:
            for key, waiting in self._waiting.items():
                for subscription in waiting:
                    subscription.notify(key)
