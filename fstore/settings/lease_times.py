"""How long a claim, a lock or a failure holds, and when what was lost is looked for.

One value for the SQL that counts by it and for those who wait.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LeaseTimes:
    """The times by which nobody waits on the dead, in seconds; made by ``Settings.lease_times``.

    The first four are settings. The others follow from what a message and a look
    cost, not from the lease: tests shorten the lease and mean the rest to stay.
    """

    lease_s: float
    """How long a claim holds without being renewed."""
    lock_s: float
    """How long a dedup lock holds without being renewed."""
    renew_s: float
    """How often both are renewed while the work goes on."""
    failure_memory_s: float
    """How long a failure answers for its key."""
    lost_when_idle_s: float = 5.0
    """A queued job is sent again after so long when the workers' queue is empty: its message cannot be in there."""
    lost_unsent_s: float = 20.0
    """When the queue is not empty and no message is known of: its leader may have died before it sent one."""
    lost_sent_s: float = 40.0
    """When the queue is not empty and a message was sent: it may still be in there."""
    lost_when_unwatched_s: float = 600.0
    """When no message is being worked on that would tell; doubled with each time, or a queue without workers would grow by itself."""
    resend_pause_s: float = 20.0
    """A running job whose lease is over is sent again at most so often."""
    caller_gone_s: float = 60.0
    """A computation that only its caller could run is given up so long after its lease ran out."""
    nudge_every_s: float = 2.0
    """How often a waiter looks for jobs that were lost; Beat's reconciler looks too, but recovery waits for nobody."""

    @property
    def retry_after_s(self) -> float:
        """When a worker looks again at a job that another holds: just after a silent one has lost it."""
        return self.lease_s + 2
