"""What a callable reaches by names is noted before it runs; what others bind anew is told, its own doings are not."""

from __future__ import annotations

import types
from typing import Any

import pytest

from fstore.features.held.bindings import Bindings

TEXT = """
import functools, logging
W, COUNT, TABLE, LOG = 2, 0, {"f": lambda: W}, logging.getLogger("x")
class Slots:
    __slots__ = ("w",)
class Base:
    w = 2
class Model(Base):
    def __init__(self, w): self.n, self.memo = w, None
    @property
    def wide(self): return self.n * W
    @functools.cached_property
    def known(self): return 1
    def feature(self, raw, config):
        self.memo = self.known
        return raw * self.wide
class Any_(Model):
    def feature(self, raw, config): setattr(self, "n", 1); return raw
model, slots, any_ = Model(2), Slots(), Any_(2)
def helper(k=2): return k
def feature(raw, config):
    global COUNT
    COUNT += 1
    TABLE["memo"] = 1
    return raw * W * helper() * absent
by_table = lambda raw, config: TABLE["f"]()
nested = lambda raw, config: (lambda: W)()
by_slots = lambda raw, config: slots.w
bound = functools.partial(feature, config={})
"""


@pytest.mark.parametrize(
    ("func", "meanwhile", "named"),
    [
        ("feature", "W = 3", "W"),
        ("feature", "def helper(): return 3", "helper"),
        ("feature", "absent = 1", "absent"),
        ("feature", "del W", "W"),
        ("feature", "feature(1, {}) if 'absent' in globals() else None; COUNT = 7; TABLE['memo'] = 2; OTHER = 1", ""),
        ("by_table", "W = 3", "W"),
        ("nested", "W = 3", "W"),
        ("bound", "W = 3", "W"),
        ("model.feature", "model.n = 3", "n"),
        ("model.feature", "W = 3", "W"),
        ("model.feature", "Base.w = 3", "w"),
        ("model.feature", "Model.wide = property(lambda self: 1)", "wide"),
        ("model.feature", "model.feature(1, {})", ""),
        ("any_.feature", "any_.feature(1, {})", ""),
        ("by_slots", "slots = Slots()", "slots"),
    ],
)
def test_what_is_bound_anew_is_named(func: str, meanwhile: str, named: str) -> None:
    """Globals, attributes of own classes and objects, through tables, partials, methods and nested code."""
    space: dict[str, Any] = vars(types.ModuleType("__main__"))
    exec(TEXT, space)  # noqa: S102 our own text
    noted = Bindings(eval(func, space))  # noqa: S307 our own text

    assert noted.rebound() == ""
    exec(meanwhile, space)  # noqa: S102 our own text
    assert noted.rebound() == named


def test_more_than_anybody_holds_is_believed() -> None:
    """A list of a million numbers costs no second before each computation."""
    many = [object() for _ in range(50_000)]
    noted = Bindings(lambda raw, config: many)

    assert noted.rebound() == ""
