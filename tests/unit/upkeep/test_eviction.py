"""What eviction chooses, why, in which order, and what it never touches."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fstore.upkeep.collection.policy import Candidate, Eviction, GarbagePolicy, Reason, plan_eviction

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR, WEEK = timedelta(hours=1), timedelta(weeks=1)


def make_candidate(key="k", *, size_bytes=10, age=2 * WEEK, unused=None):
    return Candidate(key, f"entries/{key}.parquet", size_bytes, NOW - age, NOW - (age if unused is None else unused))


def make_policy(*, high=None, low=0, max_age=4 * WEEK):
    return GarbagePolicy(retention=max_age, grace=24 * HOUR, max_bytes=high, low_watermark_bytes=low)


@st.composite
def candidates(draw):
    """Up to 30 entries of any age, last used at some moment since."""
    made = []
    for i in range(draw(st.integers(0, 30))):
        age = draw(st.integers(0, 24 * 7 * 6))
        unused = draw(st.integers(0, age))
        made.append(
            make_candidate(f"k{i:02d}", size_bytes=draw(st.integers(0, 100)), age=age * HOUR, unused=unused * HOUR)
        )
    return made


POLICIES = st.builds(
    lambda high, share, weeks: make_policy(high=high, low=(high or 0) * share // 10, max_age=weeks * WEEK),
    st.one_of(st.none(), st.integers(0, 1500)),
    st.integers(0, 10),
    st.integers(0, 5),
)


def test_least_recently_used_go_first():
    """Above the high watermark, eviction starts with what was used longest ago."""
    stale = make_candidate("stale", size_bytes=60, unused=9 * HOUR)
    fresh = make_candidate("fresh", size_bytes=60, unused=2 * HOUR)

    plan = plan_eviction([fresh, stale], make_policy(high=100, low=80), now=NOW)

    assert plan == (Eviction(stale, Reason.OVER_BUDGET),)


def test_retention_counts_from_last_use_not_from_creation():
    """An entry made ten weeks ago and read today survives a retention of four weeks."""
    read_today = make_candidate("read", age=10 * WEEK, unused=5 * HOUR)
    forgotten = make_candidate("forgotten", age=10 * WEEK, unused=5 * WEEK)

    plan = plan_eviction([read_today, forgotten], make_policy(), now=NOW)

    assert plan == (Eviction(forgotten, Reason.EXPIRED),)


def test_nothing_goes_while_the_total_is_at_the_high_watermark():
    """A store that is exactly full is not over its budget."""
    assert plan_eviction([make_candidate(size_bytes=100)], make_policy(high=100, low=50), now=NOW) == ()


def test_expired_bytes_count_as_gone_before_the_budget_is_looked_at():
    """What expires anyway makes room; nothing else goes when that is enough."""
    expired, kept = make_candidate("old", size_bytes=60, age=5 * WEEK), make_candidate("kept", size_bytes=60)

    plan = plan_eviction([kept, expired], make_policy(high=100, low=10), now=NOW)

    assert plan == (Eviction(expired, Reason.EXPIRED),)


def test_a_used_entry_outlives_a_zero_budget():
    """What was used within the hour stays, even when the budget asks for an empty store."""
    used, young = make_candidate("used", unused=HOUR / 2), make_candidate("young", age=HOUR / 2)

    assert plan_eviction([used, young], make_policy(high=0, low=0, max_age=timedelta(0)), now=NOW) == ()


def test_a_wide_clock_difference_condemns_nothing():
    """Entries that seem to come from the future are young, not ancient."""
    assert plan_eviction([make_candidate(age=-WEEK)], make_policy(high=0), now=NOW) == ()


@pytest.mark.parametrize(("max_bytes", "low"), [(None, 0), (1000, 900)])
def test_a_budget_leaves_a_tenth_of_room(max_bytes, low):
    """Eviction goes on to nine tenths of the budget, so that the next run need not start again at once."""
    policy = GarbagePolicy(retention=WEEK, grace=24 * HOUR, max_bytes=max_bytes)

    assert (policy.max_bytes, policy.evicts_to_bytes) == (max_bytes, low)


@settings(max_examples=300, deadline=None)
@given(candidates(), POLICIES)
def test_the_plan_keeps_its_promises(entries, policy):
    """Protected entries stay, expired ones go, the budget is met if it can be, and nothing goes needlessly."""
    plan = plan_eviction(entries, policy, now=NOW)

    gone = {eviction.candidate.key for eviction in plan}
    protected = {e.key for e in entries if NOW - e.created_at < HOUR or NOW - e.last_used_at < HOUR}
    expired = {e.key for e in entries if NOW - e.last_used_at > policy.retention} - protected
    assert len(gone) == len(plan)
    assert not gone & protected
    assert {e.candidate.key for e in plan if e.reason is Reason.EXPIRED} == expired

    for_budget = [e.candidate for e in plan if e.reason is Reason.OVER_BUDGET]
    left = sum(e.size_bytes for e in entries if e.key not in gone)
    over = policy.max_bytes is not None and left + sum(c.size_bytes for c in for_budget) > policy.max_bytes
    if not over:
        assert not for_budget
    else:
        assert left <= policy.evicts_to_bytes or {e.key for e in entries} - gone <= protected
        assert not for_budget or left + for_budget[-1].size_bytes > policy.evicts_to_bytes


@settings(max_examples=200, deadline=None)
@given(candidates(), POLICIES, st.randoms())
def test_the_plan_does_not_depend_on_the_order_of_entries(entries, policy, random):
    """However the entries arrive, even as a stream, the plan is the same, the longest unused first."""
    shuffled = entries.copy()
    random.shuffle(shuffled)

    plan = plan_eviction(entries, policy, now=NOW)

    assert plan_eviction(iter(shuffled), policy, now=NOW) == plan
    for reason in Reason:
        used = [e.candidate.last_used_at for e in plan if e.reason is reason]
        assert used == sorted(used)


@settings(max_examples=100, deadline=None)
@given(candidates(), POLICIES)
def test_a_second_run_right_after_finds_nothing_to_do(entries, policy):
    """Once a plan is carried out, planning again gives an empty plan, unless only protected entries are left over budget."""
    gone = {eviction.candidate.key for eviction in plan_eviction(entries, policy, now=NOW)}

    assert plan_eviction([e for e in entries if e.key not in gone], policy, now=NOW) == ()


@settings(max_examples=200, deadline=None)
@given(candidates(), POLICIES)
def test_knowing_the_total_changes_nothing_but_the_memory(entries, policy):
    """With the total size given beforehand the plan is the same as without."""
    total = sum(e.size_bytes for e in entries)

    assert plan_eviction(entries, policy, now=NOW, total_bytes=total) == plan_eviction(entries, policy, now=NOW)


def test_a_long_stream_is_planned_in_little_memory():
    """Of 60,000 entries, memory holds about as many as are given up; the plan is that of a plain sort."""
    ages = [2 + (i * 7919) % 600 for i in range(60_000)]
    policy = make_policy(high=600_000 - 10, low=599_000)

    tracemalloc.start()
    stream = (make_candidate(f"{i:05d}", age=WEEK * 30, unused=age * HOUR) for i, age in enumerate(ages))
    plan = plan_eviction(stream, policy_without_expiry(policy), now=NOW, total_bytes=600_000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    oldest = sorted(range(60_000), key=lambda i: (-ages[i], i))[:100]
    assert [int(e.candidate.key) for e in plan] == oldest
    assert peak < 6_000_000


def policy_without_expiry(policy):
    return replace(policy, retention=timedelta(weeks=5000))
