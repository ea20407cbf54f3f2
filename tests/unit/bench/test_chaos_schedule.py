"""The seeded schedules of chaos runs: repeatable, complete, and never striking what is already down."""

from __future__ import annotations

from collections import Counter
from itertools import islice

from chaos.asks import acts, hot_asks
from chaos.schedule import KINDS, LAST_S, schedule


def test_the_same_seed_repeats_the_same_faults():
    """A finding can be repeated from its seed alone."""
    assert schedule(7, 300) == schedule(7, 300)
    assert schedule(7, 300) != schedule(8, 300)


def test_a_longer_run_begins_like_a_shorter_one():
    """Whoever repeats a long run for less time sees its first faults, but for those that would outlast the end."""
    short, long = schedule(7, 100), schedule(7, 300)

    first = long[: len(short) // 2]

    assert first == short[: len(first)]


def test_ten_minutes_bring_every_kind_of_fault():
    """No kind is left to luck."""
    counted = Counter(fault.kind for fault in schedule(3, 600))

    assert set(counted) == set(KINDS)
    assert all(count >= 2 for count in counted.values())


def test_nothing_is_struck_while_it_suffers():
    """A frozen server cannot be stopped in order, and a process that is down cannot be killed."""
    free_at: dict[tuple[str, int], float] = {}
    for fault in schedule(5, 600):
        kind = KINDS[fault.kind]
        struck = (kind.strikes, fault.target)
        if kind.strikes:
            assert fault.at_s >= free_at.get(struck, 0.0)
            free_at[struck] = fault.at_s + fault.lasting_s + kind.rest_s


def test_everything_is_undone_before_the_end():
    """What is frozen or stopped goes on while trainers still ask."""
    assert all(fault.at_s + fault.lasting_s <= 120 - LAST_S for fault in schedule(9, 120))


def test_a_trainer_repeats_its_acts_and_differs_from_the_others():
    """The load comes from the seed as well; a trainer that was killed does not ask the same again."""
    one = list(islice(acts(1, 4, 0), 50))

    assert one == list(islice(acts(1, 4, 0), 50))
    assert one != list(islice(acts(1, 5, 0), 50))
    assert one != list(islice(acts(1, 4, 1), 50))


def test_trainers_meet_at_the_hot_questions():
    """Thirty trainers that never ask the same would test no sharing."""
    asked = Counter(ask for trainer in range(30) for act in islice(acts(1, trainer, 0), 20) for ask in act.asks)

    assert sum(asked[ask] for ask in hot_asks()) > sum(asked.values()) / 3
    assert {"get", "many", "submit", "peek", "invalidate"} == {act.what for act in islice(acts(1, 0, 0), 500)}
