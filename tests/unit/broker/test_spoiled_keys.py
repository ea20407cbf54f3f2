"""Keys of another type in the transport's places: whoever can write to Redis can put anything there, and no worker ends by it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from fstore.broker.spoiled_keys import mended


class WrongType(Exception):
    """What Redis' client raises for any refused command."""


class Redis:
    """Some keys by the type of their values, which refuse what is for another type."""

    def __init__(self, **kinds: str) -> None:
        self.kinds = dict(kinds)

    def _look(self, kind: str) -> Callable[..., None]:
        def look(name: str, *_: object) -> None:
            if self.kinds.get(name, kind) != kind:
                raise WrongType("WRONGTYPE Operation against a key holding the wrong kind of value")

        return look

    def __getattr__(self, command: str) -> Callable[..., None]:
        return self._look({"hget": "hash", "zrange": "zset", "llen": "list", "smembers": "set"}[command])

    def delete(self, name: str) -> None:
        """Forget a key."""
        del self.kinds[name]


class Channel:
    """Where the transport keeps things."""

    ResponseError = WrongType
    unacked_key, unacked_index_key, keyprefix_binding_deadlines = "unacked", "unacked_index", "deadlines"
    keyprefix_queue, keyprefix_binding_permanent, priority_steps = "bound.%s", "permanent.%s", (0,)

    def __init__(self, redis: Redis) -> None:
        self.redis, self.dropped = redis, list[tuple[str, str]]()

    def _create_client(self) -> Redis:
        return self.redis

    def _q_for_pri(self, queue: str, _: int) -> str:
        return queue

    def do(self, act: Callable[[], Any], **how: Any) -> Any:
        """Do something and note what had to be cleared away."""
        return mended(
            self, act, drop=lambda *what: self.dropped.append(what), queues=["compute"], exchanges=["e"], **how
        )


WRONG = {"unacked": "string", "unacked_index": "list", "deadlines": "hash", "compute": "string", "bound.e": "list", "permanent.e": "hash"}  # fmt: skip
COMMANDS = {"unacked": "hget", "unacked_index": "zrange", "deadlines": "zrange", "compute": "llen", "bound.e": "smembers", "permanent.e": "smembers"}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_it_is_cleared_away_and_what_was_wanted_is_done(name: str) -> None:
    """Only that key, once, with a word."""
    channel = Channel(Redis(**{name: WRONG[name], "other": "list"}))
    look = getattr(channel.redis, COMMANDS[name])

    def act() -> str:
        look(name)
        return "done"

    assert channel.do(act) == "done"
    assert channel.redis.kinds == {"other": "list"}
    assert channel.dropped == [(name, "its key held another kind of value")]
    channel.redis.kinds[name] = WRONG[name]
    assert channel.do(act, again=False) is None
    assert name not in channel.redis.kinds


def test_what_is_whole_stays_and_other_errors_are_raised() -> None:
    """Nothing is deleted on a guess; a command that is refused again is refused."""
    channel = Channel(Redis(compute="list", unacked="hash"))

    def refused() -> None:
        raise WrongType("NOPERM this user has no permissions")

    def always() -> None:
        raise WrongType("WRONGTYPE of a key that nobody knows")

    for act in (refused, always):
        with pytest.raises(WrongType):
            channel.do(act)
    assert channel.redis.kinds == {"compute": "list", "unacked": "hash"}
    assert channel.dropped == []
