"""Features with queues of their own, known to this process only while a test of them runs.

Commands run in this process too, and the doctor looks at the queues of all features that it knows.
"""

from __future__ import annotations

import pytest

from fstore.features import registry
from tests import queue_features

__all__ = ["known_queues", "queue_features"]

_FEATURES = {
    name: registry._registry.pop(name) for name in list(registry._registry) if name.startswith("tests.queue_features:")
}


@pytest.fixture(autouse=True)
def known_queues(monkeypatch: pytest.MonkeyPatch) -> None:
    """Know them for the length of a test; to be imported by the file of such tests."""
    for name, feature in _FEATURES.items():
        monkeypatch.setitem(registry._registry, name, feature)
