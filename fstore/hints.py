"""Wakes waiters when a computation ends, through one pub/sub connection a process.

A hint may be lost; whoever waits polls the manifest as well. It only makes the
answer arrive a few milliseconds after the commit instead of up to a second.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from fstore.coordination import hint_channel
from fstore.errors import BrokerUnavailable
from fstore.forks import forget_in_children
from fstore.redis_link import RedisLink, Subscriber

IDLE_CHANNEL = hint_channel("-")  # keeps the connection subscribed while nobody waits
RECONNECT_AFTER_S = 1.0


class Hints:
    """One listening thread a process, started by the first waiter; a forked child starts its own."""

    def __init__(self, link: RedisLink) -> None:
        self._link = link
        self._closed = False
        self.forget_after_fork()
        forget_in_children(self)

    def forget_after_fork(self) -> None:
        """Begin without a thread and without waiters: a forked child has neither the thread nor a right to the socket."""
        self._guard = threading.Lock()
        self._waiting: dict[str, list[threading.Event]] = defaultdict(list)
        self._subscriber: Subscriber | None = None
        self._running = False

    @contextmanager
    def watch(self, keys: Sequence[str]) -> Iterator[threading.Event]:
        """Give an event that is set whenever one of ``keys`` may be settled; subscribed before the block starts, if Redis is up."""
        event = threading.Event()
        channels = [hint_channel(key) for key in keys]
        with self._guard:
            fresh = [channel for channel in channels if channel not in self._waiting]
            for channel in channels:
                self._waiting[channel].append(event)
            self._start()
            subscriber = self._subscriber
        if subscriber is not None and subscriber.is_open and fresh:
            with suppress(BrokerUnavailable):
                subscriber.subscribe(*fresh)
        try:
            yield event
        finally:
            self._forget(channels, event)

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

    def _forget(self, channels: Sequence[str], event: threading.Event) -> None:
        with self._guard:
            stale = []
            for channel in channels:
                waiting = self._waiting.get(channel)
                if waiting and event in waiting:
                    waiting.remove(event)
                    if not waiting:
                        del self._waiting[channel]
                        stale.append(channel)
            subscriber = self._subscriber
        if subscriber is not None and subscriber.is_open and stale:
            with suppress(BrokerUnavailable):
                subscriber.unsubscribe(*stale)

    def _listen(self, subscriber: Subscriber) -> None:
        pause = threading.Event()
        while not self._closed:
            try:
                with self._guard:
                    channels = [IDLE_CHANNEL, *self._waiting]
                subscriber.subscribe(*channels)
                subscriber.is_open = True
                with self._guard:
                    missed = [channel for channel in self._waiting if channel not in channels]
                if missed:
                    subscriber.subscribe(*missed)
                while not self._closed:
                    heard = subscriber.next(timeout_s=1.0)
                    if heard is not None:
                        self._wake(heard[1])
            except BrokerUnavailable:
                subscriber.is_open = False
                self._wake_all()
                pause.wait(RECONNECT_AFTER_S)
                subscriber.close()
                subscriber = self._link.subscriber()
                with self._guard:
                    self._subscriber = subscriber
        subscriber.close()

    def _wake(self, channel: str) -> None:
        # A confirmed subscription wakes too: what happened before it may have been missed.
        with self._guard:
            for event in self._waiting.get(channel, ()):
                event.set()

    def _wake_all(self) -> None:
        with self._guard:
            for waiting in self._waiting.values():
                for event in waiting:
                    event.set()
