"""A feature's own queue and time limit: what may be declared, and that keys know nothing of it."""

from __future__ import annotations

import pytest

from fstore.errors import ConfigurationError
from fstore.features.declarations import checked_queue, checked_timeout
from fstore.features.registry import own_queues, resolve_feature
from tests.support.queues import known_queues, queue_features  # noqa: F401 a fixture


@pytest.mark.parametrize("name", ["gpu", "a", "gpu-2", "big_memory", "0", "x" * 63])
def test_names_of_queues(name: str) -> None:
    """Lower-case words, so that they stand in shells, addresses and ACL patterns as they are."""
    assert checked_queue(name, "m:f") == name


@pytest.mark.parametrize(
    "name", ["", "GPU", "a b", "a.b", "a:b", "-a", "x" * 64, "compute", "write", "upkeep", "gpu\n", 3, b"gpu", ["gpu"]]
)
def test_what_is_no_name_of_a_queue(name: object) -> None:
    """It is refused with an example, and so are the names of the queues that all share."""
    with pytest.raises(ConfigurationError, match='queue="gpu"'):
        checked_queue(name, "m:f")


@pytest.mark.parametrize("seconds", [0.1, 1, 30, 1e6])
def test_time_limits(seconds: float) -> None:
    """Any number of seconds from a tenth on."""
    assert checked_timeout(seconds, "m:f") == float(seconds)


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf"), 1e7, "30", True, [1]])
def test_what_is_no_time_limit(seconds: object) -> None:
    """It is refused with an example."""
    with pytest.raises(ConfigurationError, match="timeout=30"):
        checked_timeout(seconds, "m:f")


def test_declarations_reach_the_record() -> None:
    """The record of a feature says both, and this process knows the queue."""
    found = resolve_feature(queue_features.on_gpu)
    assert (found.queue, found.timeout_s) == ("gpu", None)
    assert resolve_feature(queue_features.hurried).timeout_s == 1.0
    assert "gpu" in own_queues()
