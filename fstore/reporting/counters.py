"""Reads the counters of the whole store at one moment, although they lie in Postgres and in Redis."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping

from fstore.errors import BrokerUnavailable
from fstore.resources import Resources

TRIES = 6
PAUSE_S = 0.05


def tally(resources: Resources) -> Mapping[str, int]:
    """Return every counter: what Postgres has and what Redis has not handed over yet.

    While a flush moves counters they may be in both places: then this waits a moment
    and reads again. What a killed flush left behind counts, since the next one moves
    it. Raises ``ManifestUnavailable`` and ``BrokerUnavailable``.
    """
    written = resources.usage.counters()
    for _ in range(TRIES):
        waiting, moving = resources.usage_buffer.counters()
        before, written = written, resources.usage.counters()
        if not moving and before == written:
            break
        time.sleep(PAUSE_S)
    return Counter(written) + Counter(waiting) + Counter(moving)


def tally_or_written(resources: Resources) -> Mapping[str, int]:
    """Return the same, or what Postgres alone has while Redis is away."""
    try:
        return tally(resources)
    except BrokerUnavailable:
        return resources.usage.counters()
