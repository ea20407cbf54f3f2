"""Results in each form by every door: pandas, Arrow and polars; frames, named Series and tables; computed now, hit, kept on the host."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import polars
import pyarrow as pa
import pytest
from celery import Celery

import fstore
from fstore.broker.configuration import celery_config
from fstore.broker.tasks import GET_OR_COMPUTE
from fstore.errors import ComputeFailed, InvalidRequest
from fstore.model import Request
from fstore.results.likeness import series_difference
from tests import sample_features
from tests.conftest import REPOSITORY, House

TIMES = pd.DatetimeIndex([f"2024-03-08 14:3{n}" for n in range(3)], tz="UTC", name="ts")  # features see no frequency
RAW = pd.DataFrame({"x": [1.0, 2.0, 4.0]}, index=TIMES)
KINDS: Mapping[str, type] = {"pandas": pd.DataFrame, "arrow": pa.Table, "polars": polars.DataFrame}


def by_get(store: fstore.FeatureStore, n: int, feature: Any, returns: Any) -> Any:
    return store.get_or_compute("S", RAW, {"n": n}, feature, returns=returns, timeout=60)


def by_many(store: fstore.FeatureStore, n: int, feature: Any, returns: Any) -> Any:
    return next(store.get_or_compute_many([Request("S", RAW, {"n": n}, feature)], returns=returns, timeout=60))[1]


def by_ticket(store: fstore.FeatureStore, n: int, feature: Any, returns: Any) -> Any:
    return store.submit("S", RAW, {"n": n}, feature).result(60, returns=returns)


DOORS = {"get": by_get, "many": by_many, "ticket": by_ticket}


@pytest.mark.parametrize("returns", KINDS)
@pytest.mark.parametrize("door", DOORS)
def test_each_door_gives_each_form(staffed: House, door: str, returns: str) -> None:
    """A miss and a hit give the same; a frame's named index is a column where there are no indexes."""
    n, ask = 1000 + 10 * sorted(DOORS).index(door) + sorted(KINDS).index(returns), DOORS[door]
    first, second = (ask(staffed.store, n, sample_features.scaled, returns) for _ in range(2))

    assert type(first) is type(second) is KINDS[returns]
    assert first.equals(second)
    if returns == "polars":
        assert first.columns == ["x", "ts"]
        assert first["x"].to_list() == [2.0, 4.0, 8.0]
        assert str(first["ts"].dtype.time_zone) == "UTC"


@pytest.mark.parametrize("door", DOORS)
def test_a_named_series_comes_back_as_one(staffed: House, door: str) -> None:
    """Equal to a direct call of the function, index, frequency, name and attrs included."""
    n, ask = 2000 + sorted(DOORS).index(door), DOORS[door]
    direct = sample_features.spread(RAW, {"n": n})
    for _ in range(2):
        found = ask(staffed.store, n, sample_features.spread, "pandas")
        assert series_difference(direct, found) is None
    table = ask(staffed.store, n, sample_features.spread, "arrow")
    assert (type(table), table.column_names) == (pa.Table, ["spread", "ts"])
    assert ask(staffed.store, n, sample_features.spread, "polars")["spread"].to_list() == direct.tolist()


def test_a_local_feature_may_return_a_series(staffed: House) -> None:
    """Computed in this process, then hit from the store; changing one copy changes no other."""
    made = fstore.local(sample_features.spread, name="spread", version="1")
    first = staffed.store.get_or_compute("S", RAW, {}, made)
    first.iloc[0] = -1.0
    again = staffed.store.get_or_compute("S", RAW, {}, made)
    assert series_difference(sample_features.spread(RAW, {}), again) is None


def test_one_without_a_name_is_refused_by_name(staffed: House) -> None:
    """Its author is told what to do."""
    with pytest.raises(ComputeFailed, match="without a name; name it"):
        staffed.store.get_or_compute("S", RAW, {"nameless": True}, sample_features.spread, timeout=60)


@pytest.mark.parametrize("returns", KINDS)
def test_what_a_task_answered_is_read_in_each_form(staffed: House, returns: Any) -> None:
    """``load`` after a plain Celery call."""
    app = Celery("plain", set_as_current=False)
    app.conf.update(celery_config(staffed.settings))
    source = staffed.store.ingest(RAW, staffed.folder / "raw.parquet")
    wanted = {"symbol": "S", "feature": "tests.sample_features:scaled", "raw_data": str(source.path)}
    answer = app.send_task(GET_OR_COMPUTE, kwargs={"request": wanted}).get(timeout=60)
    assert type(staffed.store.load(answer, returns=returns)) is KINDS[returns]


def test_without_polars_it_is_said_at_once(staffed: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is computed, with the line that installs it."""
    monkeypatch.setattr("importlib.util.find_spec", lambda name, *rest: None)
    with pytest.raises(InvalidRequest, match=r"pip install 'intraday-fstore\[polars\]'"):
        staffed.store.get_or_compute("S", RAW, {"n": 3000}, sample_features.scaled, returns="polars")


def test_what_polars_cannot_hold_is_an_error_that_says_so(staffed: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of one request, in one word; the same result is there in another form."""

    def refuse(table: object) -> None:
        raise polars.exceptions.ComputeError("no such type")

    monkeypatch.setattr(polars, "from_arrow", refuse)
    with pytest.raises(InvalidRequest, match=r"no such type.*take 'arrow'"):
        by_get(staffed.store, 3100, sample_features.scaled, "polars")
    assert type(by_get(staffed.store, 3100, sample_features.scaled, "arrow")) is pa.Table


TYPED = """
import fstore
from typing import assert_type
import pandas as pd, polars as pl, pyarrow as pa
from collections.abc import Iterator
from fstore import Request

def check(store: fstore.FeatureStore, asked: list[Request]) -> None:
    assert_type(store.get_or_compute("S", 1, {}, len), pd.DataFrame)
    assert_type(store.get_or_compute("S", 1, {}, len, returns="arrow"), pa.Table)
    assert_type(store.get_or_compute("S", 1, {}, len, returns="polars"), pl.DataFrame)
    assert_type(store.get_or_compute_many(asked), Iterator[tuple[Request, pd.DataFrame]])
    assert_type(store.get_or_compute_many(asked, returns="polars"), Iterator[tuple[Request, pl.DataFrame]])
    for _, value in store.get_or_compute_many(asked, errors="return"):
        value.anything_goes()
    assert_type(store.submit("S", 1, {}, len).result(), pd.DataFrame)
    assert_type(store.submit("S", 1, {}, len).result(returns="polars"), pl.DataFrame)
    assert_type(store.load({}), pd.DataFrame)
    assert_type(store.load({}, returns="polars"), pl.DataFrame)
"""


@pytest.mark.slow
def test_type_checkers_know_the_forms(tmp_path: Path) -> None:
    """As somebody else's mypy sees them."""
    pytest.importorskip("mypy", reason="a tool of developers")
    file = tmp_path / "typed.py"
    file.write_text(TYPED)
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--follow-imports=silent", str(file)],
        cwd=REPOSITORY, capture_output=True, text=True, timeout=170, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout


def test_a_part_of_a_series_is_a_series(staffed: House) -> None:
    """Some of its time; the whole column by its name is all of it; in another form it is that form's."""
    direct = sample_features.spread(RAW, {"n": 4000})
    ask = staffed.store.get_or_compute
    ask("S", RAW, {"n": 4000}, sample_features.spread, timeout=60)

    part = ask("S", RAW, {"n": 4000}, sample_features.spread, between=(TIMES[1], TIMES[2]))
    named = ask("S", RAW, {"n": 4000}, sample_features.spread, columns=["spread"])
    table = ask("S", RAW, {"n": 4000}, sample_features.spread, returns="polars", between=(TIMES[0], TIMES[1]))

    assert series_difference(direct.iloc[1:2], part) is None
    assert series_difference(direct, named) is None
    assert table["spread"].to_list() == direct.tolist()[:1]
