"""The steps of a miss that ``misses.py`` measures: named by where the library looks them up."""

from __future__ import annotations

from importlib import import_module

import pytest
from harness.miss_steps import STEPS


@pytest.mark.parametrize("step", STEPS)
def test_a_step_is_a_function_of_the_library(step: str) -> None:
    """One that moved would be measured as nothing, or end the whole bench."""
    home, name = STEPS[step]
    module, _, owner = home.partition(":")
    place = getattr(import_module(module), owner) if owner else import_module(module)

    assert callable(getattr(place, name))
