"""What a request holds of its raw data, from its key to its answer."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from fstore import feature
from fstore.client.request import KeyedRequest, Preparation
from fstore.fingerprint import FrameInput
from fstore.runtime.counters import Recorder
from fstore.settings import gather_settings


@feature(version="1")
def doubled(raw: pd.DataFrame, config: Mapping[str, Any]) -> pd.DataFrame:
    return raw * 2


@pytest.fixture
def resources(tmp_path: Path) -> Any:
    settings = gather_settings({"path": tmp_path}, environ={})
    return SimpleNamespace(settings=settings, recorder=Recorder(lambda hits, counters: None), memo=None)


def prepared(resources: Any, frame: pd.DataFrame, **how: bool) -> KeyedRequest:
    return Preparation(resources, shares=True, **how).prepare("X", frame, {"n": 1}, doubled)


def test_what_will_be_computed_stays_what_it_was(resources: Any) -> None:
    """A frame of its own, which shares memory until somebody writes."""
    frame = pd.DataFrame({"price": np.arange(4.0)})
    request = prepared(resources, frame)
    frame.loc[0, "price"] = 7.0
    assert isinstance(request.raw_data, FrameInput)
    assert request.raw_data.frame["price"].tolist() == [0.0, 1.0, 2.0, 3.0]


def test_who_only_looks_holds_nothing_and_finds_the_same_key(resources: Any) -> None:
    """A frame for each of thousands of keys would cost as much as half of their digests."""
    frame = pd.DataFrame({"price": np.arange(4.0)})
    request = prepared(resources, frame, holds=False)
    assert isinstance(request.raw_data, FrameInput)
    assert request.raw_data.frame is frame
    assert request.key == prepared(resources, frame).key
