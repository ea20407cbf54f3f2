"""Redis: dedup locks, notifications, the usage buffer."""

from typing import TYPE_CHECKING

from fstore import lazy

if TYPE_CHECKING:
    from fstore.coordination.link import RedisLink
    from fstore.coordination.locks import DedupLocks
    from fstore.coordination.notifications import Notifier, Subscription
    from fstore.coordination.outbox import Outbox
    from fstore.coordination.server import RedisServer
    from fstore.coordination.usage_buffer import UsageBuffer
else:
    __getattr__ = lazy.names(
        __name__,
        {
            "link": "RedisLink",
            "locks": "DedupLocks",
            "notifications": "Notifier Subscription",
            "outbox": "Outbox",
            "server": "RedisServer",
            "usage_buffer": "UsageBuffer",
        },
    )

__all__ = ["DedupLocks", "Notifier", "Outbox", "RedisLink", "RedisServer", "Subscription", "UsageBuffer"]
