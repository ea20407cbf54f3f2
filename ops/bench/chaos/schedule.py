"""Which fault strikes when, whom, and for how long: a pure function of the seed."""

from __future__ import annotations

import random
from dataclasses import dataclass

WORKERS, TRAINERS, BEATS = 3, 30, 2
FIRST_S, LAST_S = 3.0, 3.0  # quiet at both ends: everything runs once before it is broken, and is whole at the end
MEAN_GAP_S = 1.8


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault: ``target`` numbers the process it strikes, ``pick`` (0 to 1) chooses among what there is at that moment.

    ``lasting_s`` is how long something stays frozen or down before it goes on or is started again.
    """

    at_s: float
    kind: str
    target: int
    pick: float
    lasting_s: float


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of fault: how often it is dealt, whom it strikes (``one of`` so many), for how long, and the rest it needs."""

    dealt: int
    strikes: str = ""
    one_of: int = 1
    lasting_s: tuple[float, float] = (0.0, 0.0)
    rest_s: float = 0.0


KINDS: dict[str, Kind] = {
    "worker_kill": Kind(2, "worker", WORKERS, (0.5, 3), 5),
    "worker_freeze": Kind(2, "worker", WORKERS, (3, 14), 3),
    "worker_stop": Kind(2, "worker", WORKERS, (1, 3), 5),
    "child_kill": Kind(4, "worker", WORKERS),
    "child_freeze": Kind(2, "worker", WORKERS, (2, 12), 1),
    "trainer_kill": Kind(3, "trainer", TRAINERS, (0.5, 4), 1),
    "trainer_freeze": Kind(3, "trainer", TRAINERS, (1, 15), 1),
    "beat_kill": Kind(1, "beat", BEATS, (1, 5), 5),
    "beat_freeze": Kind(1, "beat", BEATS, (2, 10), 1),
    "collector_kill": Kind(2, "collector", 1, (0.2, 2), 3),
    "collect_again": Kind(2),
    "redis_flush": Kind(2, "redis"),
    "redis_restart": Kind(1, "redis", 1, (0.2, 4), 6),
    "redis_freeze": Kind(1, "redis", 1, (2, 8), 6),
    "postgres_restart": Kind(1, "postgres", 1, (0.2, 4), 8),
    "postgres_freeze": Kind(1, "postgres", 1, (2, 8), 8),
    "postgres_terminate": Kind(2, "postgres"),
    "entry_flip": Kind(4),
    "entry_truncate": Kind(2),
    "entry_unlink": Kind(2),
    "staged_unlink": Kind(1),
    "lock_delete": Kind(2),
}
OBJECT_STORE: dict[str, Kind] = {"objects_freeze": Kind(3, "objects", 1, (2, 10), 6)}
FREEZES_TRAINER = "trainer_freeze"
DAMAGES = ("entry_flip", "entry_truncate", "entry_unlink")


def schedule(seed: int, seconds: float, *, object_store: bool = False) -> tuple[Fault, ...]:
    """Return the faults of a run in their order.

    They are dealt from a shuffled deck, so that every kind comes up in a long run.
    Nothing is struck while it still suffers, or rests, from the last one, and
    everything that was frozen or stopped goes on before the end.
    """
    rng = random.Random(f"faults:{seed}")
    kinds = KINDS | (OBJECT_STORE if object_store else {})
    deck: list[str] = []
    free_at: dict[tuple[str, int], float] = {}
    faults = []
    at_s = FIRST_S
    while at_s < seconds - LAST_S:
        if not deck:
            deck = [name for name, kind in kinds.items() for _ in range(kind.dealt)]
            rng.shuffle(deck)
        name = deck.pop()
        kind = kinds[name]
        target, pick, lasting_s = rng.randrange(kind.one_of), rng.random(), rng.uniform(*kind.lasting_s)
        struck = (kind.strikes, target)
        if free_at.get(struck, 0.0) <= at_s and at_s + lasting_s <= seconds - LAST_S:
            faults.append(Fault(round(at_s, 3), name, target, round(pick, 6), round(lasting_s, 3)))
            if kind.strikes:
                free_at[struck] = at_s + lasting_s + kind.rest_s
        at_s += 0.3 + rng.expovariate(1 / (MEAN_GAP_S - 0.3))
    return tuple(faults)
