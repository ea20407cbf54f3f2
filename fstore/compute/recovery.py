"""What the dead leave behind, in one place for all who look.

Computations that end their workers are buried, lost ones are sent again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from fstore.broker import Broker, compute_queue, parse_compute
from fstore.coordination import Notifier, RedisServer
from fstore.errors import BrokerUnavailable, InvalidRequest
from fstore.features import own_queues
from fstore.postgres import Jobs
from fstore.resources import Resources


@dataclass(slots=True)
class Resent:
    """What became of jobs whose message or worker was lost.

    ``refused`` were written by another version of fstore, which will know how to send
    them; ``unsent`` could not be sent now, and are due again later.
    """

    sent: list[str] = field(default_factory=list)
    refused: dict[str, InvalidRequest] = field(default_factory=dict)
    unsent: dict[str, BrokerUnavailable] = field(default_factory=dict)


class Recovery:
    """Shared by waiters, workers and the reconciler, so that recovery waits for none of them.

    Of many who look at a job at once, one buries or sends it.
    """

    def __init__(self, jobs: Jobs, broker: Broker, notifier: Notifier, server: RedisServer) -> None:
        self._jobs = jobs
        self._broker = broker
        self._notifier = notifier
        self._server = server

    @classmethod
    def of(cls, resources: Resources) -> Recovery:
        """Return the recovery of a process."""
        return cls(resources.jobs, resources.broker, resources.notifier, resources.redis_server)

    def bury(self, keys: Sequence[str] | None = None) -> list[str]:
        """Mark jobs dead that were started too often without an end; count them and wake their waiters.

        Looks at ``keys``, or at all.
        """
        buried = self._jobs.bury(keys)
        if buried:
            self._notifier.announce(buried, {"dead": len(buried)})
        return buried

    def resend(self, keys: Sequence[str] | None = None) -> Resent:
        """Send again what was lost, among ``keys`` or all, each by itself: one may have ended its worker."""
        resent = Resent()
        lost: Mapping[str, Mapping[str, object]] = dict(self._jobs.take_stale(keys, drained=self._drained_queues()))
        away: BrokerUnavailable | None = None
        for key, message in lost.items():
            try:
                request = parse_compute(message)
            except InvalidRequest as error:
                resent.refused[key] = error
                continue
            try:
                if away is None:
                    self._broker.send_compute(request)
                    resent.sent.append(key)
            except BrokerUnavailable as error:  # which took seconds: the others would wait as long for nothing
                away = error
            if away is not None:
                resent.unsent[key] = away
        return resent

    def _drained_queues(self) -> list[str | None]:
        """Return which queues are empty, of those that this process knows; what lies in others is due later."""
        return [name for name in (None, *own_queues()) if self._server.is_drained(compute_queue(name))]
