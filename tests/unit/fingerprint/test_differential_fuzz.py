"""Random frames, functions, layouts and doors: what a store answers is what a direct call returns, or a typed refusal.

The suite runs a few seconds of it; ``FSTORE_FUZZ_SECONDS=900`` runs it for long, and
``FSTORE_FUZZ_SEED`` chooses where it begins.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import pytest

import fstore
from fstore.stack import temporary_servers
from tests.conftest import Servers, build_house
from tests.fuzzing import doors, frames, functions
from tests.fuzzing.other_process import OtherProcess, other_process

SEED = int(os.environ.get("FSTORE_FUZZ_SEED", "20261129"))
SECONDS = float(os.environ.get("FSTORE_FUZZ_SECONDS", "0"))
FRAMES = 12  # without FSTORE_FUZZ_SECONDS


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[list[fstore.FeatureStore], OtherProcess]]:
    """One store with a worker, opened without and with a local tier, and in another process."""
    with temporary_servers() as running, ExitStack() as stack:
        folder = tmp_path_factory.mktemp("fuzz")
        servers = Servers(running.postgres_url, running.redis_url)
        house = build_house(servers, folder, stack, feature_modules="tests.fuzzing.functions", failure_memory_s="0")
        house.start()
        tiered = house.open(local_cache=str(folder / "tier"))
        stack.callback(tiered.close)
        known = {name.removeprefix("FEATURE_STORE_").lower(): value for name, value in house.environment.items()}
        known.pop("path")
        other = stack.enter_context(other_process(str(house.root), known))
        yield [house.store, tiered], other


@pytest.mark.timeout(SECONDS + 300)
def test_answers_equal_direct_calls(places: tuple[list[fstore.FeatureStore], OtherProcess]) -> None:
    """Every door answers a frame, its other layouts and its near neighbours as the function itself does."""
    began, tally = time.monotonic(), doors.Tally()
    stores, other = places
    known = {**doors.FRAME_DOORS, "elsewhere": doors.elsewhere(other)}
    folder = stores[0].settings.path / "raw"
    folder.mkdir()
    examples = 0
    while examples < FRAMES or time.monotonic() - began < SECONDS:
        rng = random.Random(f"{SEED}-{examples}")
        _example(rng, f"seed {SEED}-{examples}", stores, known, tally, folder)
        examples += 1
    print(f"{examples} frames: {tally.right} right, {sum(tally.refused.values())} refused")
    print("\n".join(f"{count:6} {reason}" for reason, count in tally.refused.most_common(40)))
    assert not tally.wrong, "\n".join([f"{len(tally.wrong)} wrong:", *tally.wrong[:40]])
    assert tally.right > sum(tally.refused.values()), tally.refused.most_common(10)


def _example(
    rng: random.Random,
    name: str,
    stores: list[fstore.FeatureStore],
    known: Mapping[str, doors.Door],
    tally: doors.Tally,
    folder: Path,
) -> None:
    base = frames.random_frame(rng)
    near = list(frames.neighbours(rng, base))
    shown = [("base", base), *rng.sample(near, min(2, len(near))), *frames.layouts(base)]
    steps = rng.sample(list(functions.STEPS), 4)
    for kind, frame in shown:
        for step in steps:
            wanted = doors.direct(frame, step)
            door = rng.choice(list(known))
            for store in stores:
                doors.judge(
                    tally,
                    f"{name} {kind} {step} {door}",
                    wanted,
                    lambda store=store, frame=frame, step=step, door=door: known[door](store, frame, step, folder),
                )
        door = rng.choice(list(doors.ARROW_DOORS))
        wanted = doors.direct_arrow(frame, door)
        doors.judge(
            tally,
            f"{name} {kind} {door}",
            wanted,
            lambda frame=frame, door=door: doors.ARROW_DOORS[door](stores[0], frame, "look", folder),
        )
