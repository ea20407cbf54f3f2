"""How the walk through the packages is counted."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

import fstore
from fstore.features.keys import key_of
from fstore.model import KeyParts

HERE = Path(fstore.__file__).parent


@pytest.fixture(scope="module")
def walking() -> ModuleType:
    spec = importlib.util.spec_from_file_location("walk", HERE.parent / "ops" / "walk.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_room_is_a_package_or_a_module_beside_them(walking):
    """What is not the project's, and what every process carries, is no room."""
    assert walking.place_of(HERE / "client" / "request.py") == ("client", "request")
    assert walking.place_of(HERE / "features" / "source" / "digest.py") == ("features", "digest")
    assert walking.place_of(HERE / "store.py") == ("store", "store")
    assert walking.place_of(HERE / "runtime" / "deadline.py") is None
    assert walking.place_of(HERE / "errors.py") is None
    assert walking.place_of(Path(pytest.__file__)) is None


def test_a_stay_is_a_run_of_calls_into_one_room(walking):
    """Coming back counts; another module of the same room does not."""
    walk = walking.Walk()
    walk.calls = [("store", "store", "f"), ("client", "a", "f"), ("client", "b", "g"), ("store", "store", "g")]

    assert walk.stays == ["store", "client", "store"]
    assert walk.figures() == {"rooms": 2, "moves": 2, "entered": {"store": 2, "client": 1}}


def test_calls_of_the_project_are_noted(walking):
    """Those of the block, and none after it."""
    walk = walking.Walk()
    before = sys.getprofile()
    with walk.noted():
        key_of(KeyParts("S", "f", "1", "{}", "aa"))
    sys.setprofile(before)

    key_of(KeyParts("S", "f", "1", "{}", "aa"))
    assert [call for call in walk.calls if call[2] == "key_of"] == [("features", "keys", "key_of")]


def test_what_is_more_than_was_promised_is_named(walking):
    """Rooms of misses and of a collection, and how often a hit comes back to one."""
    walks = {name: walking.Walk() for name in ("hit", *walking.LIMITS)}
    assert walking.faults_of(walks) == []

    walks["hit"].calls = [(room, room, "f") for room in ("a", "b", "a", "b", "a")]
    walks["collection"].calls = [(f"room{n}", "m", "f") for n in range(6)]

    assert walking.faults_of(walks) == [
        "collection: 6 rooms, promised are at most 5",
        "hit: enters a 3 times, promised are at most 2",
    ]
