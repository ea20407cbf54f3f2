"""Fixtures of the fault suite, and the order of its rows."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.faults.harness.site import Site, open_site
from tests.faults.rows import demand

ORDER, WANTED = "FSTORE_FAULT_ORDER", "FSTORE_FAULT_ROWS"


@pytest.fixture
def make_site(tmp_path: Path) -> Iterator[Callable[..., Site]]:
    """A way to open a site with settings of the row's choice; all of it ends with the row."""
    with ExitStack() as stack:
        yield lambda **settings: open_site(tmp_path, stack, **settings)


@pytest.fixture
def site(make_site: Callable[..., Site]) -> Site:
    """A site with the settings as they come."""
    return make_site()


@pytest.fixture(autouse=True)
def _tools(request: pytest.FixtureRequest) -> None:
    """Skip a row whose tools are absent, with the reason; on CI, where they must be there, fail it."""
    about = request.node.get_closest_marker("row")
    if about is not None:
        demand(about.kwargs["needs"])


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Say of every row what the table shows; put long rows first, or all in a random order chosen by a seed."""
    if wanted := os.environ.get(WANTED):
        numbers = {int(number) for number in wanted.split(",")}
        items[:] = [item for item in items if (about := item.get_closest_marker("row")) and about.args[0] in numbers]
    rows = [item for item in items if item.get_closest_marker("row")]
    for item in rows:
        about = item.get_closest_marker("row")
        assert about is not None
        item.user_properties.append(("row", [about.args[0], about.kwargs["fault"], about.kwargs["promise"]]))
    if not rows:
        return
    seconds = {item: item.get_closest_marker("row").kwargs["seconds"] for item in rows}  # type: ignore[union-attr]
    ordered = sorted(rows, key=lambda item: (-seconds[item], item.nodeid))
    if seed := os.environ.get(ORDER):
        ordered = sorted(rows, key=lambda item: item.nodeid)
        random.Random(seed).shuffle(ordered)
    places = iter(ordered)
    items[:] = [next(places) if item in seconds else item for item in items]
