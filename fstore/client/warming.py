"""Makes the first request as quick as the next.

What it would have to load and connect is loaded and connected before.
"""

from __future__ import annotations

import threading
import time
from contextlib import suppress

import pandas as pd

from fstore.fingerprint import content_digest
from fstore.resources import Resources
from fstore.results import decode_result, encode_result

SETTLED_AFTER_S = 0.5  # until then the first request has the processor to itself


def warm_up(resources: Resources) -> threading.Thread:
    """Load lazy code and open one connection each, in a thread that nobody waits for.

    A crowd of trainers that starts at one gate would otherwise pay for all of it while
    the one that leads is trying to. Redis comes later, as a hit is answered without it; what only a
    miss needs is loaded by the first miss. Servers that are away are none of its business.
    """
    thread = threading.Thread(target=_warm, args=(resources,), name="fstore-warm-up", daemon=True)
    thread.start()
    return thread


def _warm(resources: Resources) -> None:
    with suppress(Exception):  # the store may be closed meanwhile; what is really wrong, the first request will say
        frame = pd.DataFrame({"x": [0.0]})
        content_digest(frame)
        decode_result(encode_result(frame))
        resources.jobs.look(["-"])
        time.sleep(SETTLED_AFTER_S)
        with resources.notifier.subscribe(["-"]):
            resources.redis_server.is_up()
