"""A feature module whose first lines set what belongs to the whole process, as many do."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from fstore import feature
from tests import setting_library

warnings.simplefilter("ignore")
pd.set_option("future.infer_string", False)
warnings.simplefilter("error")
np.seterr(all="raise")
os.environ["TZ"] = "Asia/Tokyo"
time.tzset()


@feature(version="1")
def own(raw: pd.DataFrame, config: Mapping[str, Any]) -> pd.DataFrame:
    """Tell what holds for this module."""
    return pd.DataFrame(
        {
            "dtype": np.array([str(pd.Series(["a"]).dtype)], dtype=object),
            "divide": np.array([np.geterr()["divide"]], dtype=object),
            "hour": [time.localtime(0).tm_hour],
            "precision": [setting_library.precision()],
        }
    )
