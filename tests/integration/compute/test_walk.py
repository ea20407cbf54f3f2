"""How many rooms one request enters: what a reader who follows it has to open."""

from __future__ import annotations

import sys
from pathlib import Path
from types import FrameType

import pandas as pd

import fstore
from fstore.broker.messages import parse_compute
from fstore.compute.executor import execute
from fstore.model import Status
from tests import sample_features

HOUSE = Path(fstore.__file__).parent
AMBIENT = {"runtime", "model", "errors", "records"}  # carried by everything
MOST = 10


def rooms_of(act) -> set[str]:
    """Return the packages and flat modules of the house whose code runs in this thread while ``act`` does."""
    entered: set[str] = set()
    files: dict[str, str | None] = {}

    def note(frame: FrameType, event: str, _: object) -> None:
        if event == "call":
            name = frame.f_code.co_filename
            if name not in files:
                path = Path(name)
                within = path.is_relative_to(HOUSE)
                files[name] = path.relative_to(HOUSE).parts[0].removesuffix(".py") if within else None
            if (room := files[name]) is not None:
                entered.add(room)

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        act()
    finally:
        sys.setprofile(before)
    return entered - AMBIENT


def test_a_miss_in_a_worker_enters_few_rooms(house):
    """Plan, claim, read, compute, write, publish: ten packages at most, beside what everything carries."""
    raw = pd.DataFrame({"price": [float(n) for n in range(50)]})
    resources = house.store.resources
    sent = []
    resources.broker.send_compute = lambda request: sent.append(request.wire())  # type: ignore[method-assign]
    ticket = house.store.submit("WALK", raw, {"factor": 2}, sample_features.scaled)
    answered = []

    entered = rooms_of(lambda: answered.append(execute(resources, parse_compute(sent[0]), phase=lambda _: None)))

    assert answered[0].status is Status.COMPUTED
    assert ticket.key == answered[0].key
    assert len(entered) <= MOST, " ".join(sorted(entered))
