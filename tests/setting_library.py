"""A library that sets what belongs to the whole process when it is imported."""

from __future__ import annotations

import pandas as pd

pd.set_option("display.precision", 2)


def precision() -> int:
    """Return how many digits pandas shows."""
    return int(pd.get_option("display.precision"))
