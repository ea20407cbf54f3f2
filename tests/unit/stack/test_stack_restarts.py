"""Restart decisions: values in, values out."""

from __future__ import annotations

from fstore.stack.processes.restarts import LIMIT_AT_START, LIMIT_LATER, RestartRecord


def _delays(record: RestartRecord, ends: int, *, ready_for_seconds: float = 0.0) -> list[float | None]:
    delays = []
    for _ in range(ends):
        record = record.after_end(ready_for_seconds=ready_for_seconds)
        delays.append(record.delay_seconds())
    return delays


def test_pauses_double_up_to_five_seconds_and_then_it_is_given_up():
    """A child that was ready once is restarted with doubling pauses, and given up at its limit."""
    delays = _delays(RestartRecord(was_ready=True), LIMIT_LATER)

    assert delays == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0, 5.0, None]


def test_a_child_that_never_was_ready_gets_few_tries():
    """A fault in the set-up does not pass, so the start gives up soon."""
    delays = _delays(RestartRecord(), LIMIT_AT_START)

    assert delays == [0.1, 0.2, None]


def test_a_good_run_wipes_the_slate():
    """Ends after a settled run never add up, however many there are."""
    delays = _delays(RestartRecord(was_ready=True), 50, ready_for_seconds=60.0)

    assert set(delays) == {0.1}


def test_becoming_ready_grants_the_longer_limit():
    """A child that becomes ready at its second try is treated as one that works."""
    record = RestartRecord().after_end(ready_for_seconds=0).after_ready().after_end(ready_for_seconds=0)

    assert record.after_end(ready_for_seconds=0).delay_seconds() is not None
