"""Keys of the transport that hold what they never should.

Whoever can write to Redis can put anything there. A worker that met one would end, or not start again. Such a key
is cleared away, which is counted and logged; job rows say what is still to be computed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

T = TypeVar("T")

_REASON = "its key held another kind of value"


def mended(
    channel: Any,
    act: Callable[[], T],
    *,
    drop: Callable[[str, str], None],
    queues: Iterable[str] = (),
    exchanges: Iterable[str] = (),
    again: bool = True,
) -> T | None:
    """Do something with Redis, once more where a key of another type stood in the way.

    Such a key is cleared away first.

    Without ``again`` it is left to the caller's loop, and None is returned.

    Looks at the keys of unacknowledged messages, and at those of these queues and exchanges.
    """
    try:
        return act()
    except channel.ResponseError as error:
        if not is_about_type(error):
            raise
        _clear(channel, queues, exchanges, drop)  # or somebody else has by now
    return act() if again else None


def is_about_type(error: BaseException) -> bool:
    """Tell whether Redis refused a command for the kind of value that its key holds."""
    return "WRONGTYPE" in str(error)


def _clear(channel: Any, queues: Iterable[str], exchanges: Iterable[str], drop: Callable[[str, str], None]) -> None:
    """Delete those keys that hold another kind of value than the transport keeps there."""
    client = channel._create_client()
    for name, look in _expected(channel, client, queues, exchanges):
        try:
            look(name)
        except channel.ResponseError as error:
            if is_about_type(error):
                client.delete(name)
                drop(name, _REASON)


def _expected(
    channel: Any, client: Any, queues: Iterable[str], exchanges: Iterable[str]
) -> list[tuple[str, Callable[[str], object]]]:
    """Name each key with a command that fails unless the key is of its kind, or absent."""
    lists = [channel._q_for_pri(queue, step) for queue in queues for step in channel.priority_steps]
    prefixes = (channel.keyprefix_queue, channel.keyprefix_binding_permanent)
    sets = [prefix % exchange for exchange in exchanges for prefix in prefixes]
    return [
        (channel.unacked_key, lambda name: client.hget(name, "-")),
        (channel.unacked_index_key, lambda name: client.zrange(name, 0, 0)),
        (channel.keyprefix_binding_deadlines, lambda name: client.zrange(name, 0, 0)),
        *((name, client.llen) for name in lists),
        *((name, client.smembers) for name in sets),
    ]
