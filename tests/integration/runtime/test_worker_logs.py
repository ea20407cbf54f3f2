"""What workers log: one JSON object a line, and every line of a task says what it is about."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import fstore
from fstore.runtime import logs
from fstore.settings.loading import gather_settings
from tests.conftest import House
from tests.waiting import eventually


def lines(folder: Path) -> list[dict[str, Any]]:
    """Return what all workers of a folder logged, without the banner that Celery prints before it logs."""
    text = "\n".join(log.read_text() for log in folder.glob("worker-*.log"))
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


def test_every_line_of_a_task_names_key_and_symbol(house: House, tmp_path: Path) -> None:
    """Lines of fstore and of Celery carry task, symbol, feature and key while a task runs, and none of them afterwards."""
    house.start(concurrency=1, queues="fstore.compute", FEATURE_STORE_LOG_FORMAT="json")
    raw = pd.DataFrame({"price": [1.0, 2.0]})
    keys = {}
    for symbol in ("AAPL", "MSFT"):
        ticket = house.store.submit(symbol, raw, {}, "tests.sample_features:scaled")
        ticket.result(timeout=60)
        keys[symbol] = ticket.key[: logs.KEY_DIGITS]
    with pytest.raises(fstore.ComputeFailed):
        house.store.get_or_compute("TSLA", raw, {}, "tests.sample_features:failing", timeout=60)

    eventually(
        lambda: sum("succeeded" in line["event"] for line in lines(tmp_path)) == 2, seconds=20, what="Celery's lines"
    )
    done = [line for line in lines(tmp_path) if "succeeded" in line["event"]]
    assert {line["symbol"]: line["key"] for line in done} == keys
    assert {line["task"] for line in done} == {"fstore.get_or_compute"}
    assert {line["feature"] for line in done} == {"tests.sample_features:scaled"}
    assert all(line["task_id"] in line["event"] and line["level"] == "info" for line in done)
    failed = eventually(
        lambda: [line for line in lines(tmp_path) if "ComputeFailed" in json.dumps(line)],
        seconds=20,
        what="the failure's line",
    )
    assert {line["symbol"] for line in failed} == {"TSLA"}
    outside = [line for line in lines(tmp_path) if "ready" in line["event"] or "Connected" in line["event"]]
    assert outside
    assert not any("symbol" in line for line in outside)


def test_json_lines_carry_extra_fields_and_tracebacks(capsys: pytest.CaptureFixture[str]) -> None:
    """Fields given with ``extra`` and what is bound stand beside the event; a traceback is text, not a second line."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    try:
        logs.configure_logging(gather_settings({"log_format": "json"}, environ={}))
        logs.bind(key="f" * 64, symbol="AAPL", feature=None)
        try:
            int("bad tick")
        except ValueError:
            logging.getLogger("fstore.test").exception("it failed", extra={"rows": 3})
        logs.unbind()
        logging.getLogger("fstore.test").info("afterwards")
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
        logging.captureWarnings(capture=False)

    first, second = (json.loads(line) for line in capsys.readouterr().err.splitlines())
    assert (first["event"], first["rows"], first["symbol"]) == ("it failed", 3, "AAPL")
    assert first["key"] == "f" * logs.KEY_DIGITS
    assert "bad tick" in first["exception"]
    assert "feature" not in first
    assert not {"key", "symbol"} & set(second)
