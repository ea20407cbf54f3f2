"""The steps of a miss that ``misses.py`` measures: named by where the library looks them up."""

from __future__ import annotations

from importlib import import_module

import pytest
from harness.miss_steps import STEPS
from suites.load.miss_timeline import OF_TRAINERS, OF_WORKERS, WARM_UP, medians

WATCHED = {**STEPS, **OF_TRAINERS, **OF_WORKERS}


@pytest.mark.parametrize("step", WATCHED)
def test_a_step_is_a_function_of_the_library(step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that moved would be measured as nothing, or end the whole bench."""
    monkeypatch.setenv(
        "FEATURE_STORE_REDIS_URL", "redis://localhost:1/0"
    )  # workers have settings when they are imported
    monkeypatch.setenv("FEATURE_STORE_POSTGRES_URL", "postgresql://localhost:1/none")
    home, name = WATCHED[step]
    module, _, owner = home.partition(":")
    place = getattr(import_module(module), owner) if owner else import_module(module)

    assert callable(getattr(place, name))


def test_moments_belong_to_the_request_before_them() -> None:
    """The last of a name in each request counts, and what came before the first that is measured does not."""
    begins = [float(number) for number in range(WARM_UP + 3)]
    noted = [
        (begin + later, label) for begin in begins for later, label in ((0.3, "told"), (0.1, "told"), (0.2, "sent"))
    ]

    assert medians(noted, begins) == {"sent": pytest.approx(200), "told": pytest.approx(300)}
