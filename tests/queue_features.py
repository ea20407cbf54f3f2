"""Features with a queue or a time limit of their own."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import pandas as pd
from celery import current_task

from fstore import feature
from tests.sample_features import mark_start


@feature(version="1", queue="gpu")
def on_gpu(raw: pd.DataFrame, config: Mapping[str, Any]) -> pd.DataFrame:
    """Return the queue from which it was taken."""
    return pd.DataFrame({"queue": [current_task.request.delivery_info["routing_key"]]})


@feature(version="1", timeout=1)
def hurried(raw: pd.DataFrame, config: Mapping[str, Any]) -> pd.DataFrame:
    """Take as long as told."""
    mark_start(config)
    time.sleep(config.get("seconds", 0.0))
    return raw


@feature(version="1", timeout=1)
def stubborn(raw: pd.DataFrame, config: Mapping[str, Any]) -> pd.DataFrame:
    """Take no notice of being asked to stop."""
    mark_start(config)
    while True:
        with suppress(Exception):
            time.sleep(60)


@feature(version="1")
def anywhere(raw: pd.DataFrame, config: Mapping[str, Any]) -> pd.DataFrame:
    """Return the queue from which it was taken."""
    return pd.DataFrame({"queue": [current_task.request.delivery_info["routing_key"]]})
