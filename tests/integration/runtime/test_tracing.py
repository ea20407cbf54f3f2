"""Traces that begin in a trainer and end in a real worker; and programs without OpenTelemetry, which notice nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

import fstore
from tests.conftest import REPOSITORY, House
from tests.waiting import eventually

RAW = pd.DataFrame({"price": [1.0, 2.0]})
TO_THE_LOG = {"FEATURE_STORE_TRACE_EXPORTER": "console", "OTEL_BSP_SCHEDULE_DELAY": "50"}
WORKERS_PART = {"task fstore.get_or_compute", "fstore.read", "fstore.compute", "fstore.publish"}


@cache
def memory() -> InMemorySpanExporter:
    """Set up OpenTelemetry as a trainer's program does; once, for it cannot be undone."""
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    return exporter


@pytest.fixture
def here() -> Iterator[InMemorySpanExporter]:
    """The spans of this process, the trainer, from now on."""
    memory().clear()
    yield memory()
    memory().clear()


def the(exporter: InMemorySpanExporter, name: str) -> ReadableSpan:
    """Return the one span of that name."""
    (found,) = [span for span in exporter.get_finished_spans() if span.name == name]
    return found


def hexed(span: ReadableSpan) -> tuple[str, str]:
    """Return trace and span id as exporters write them."""
    return f"0x{span.context.trace_id:032x}", f"0x{span.context.span_id:016x}"


def from_workers(folder: Path) -> dict[str, dict[str, Any]]:
    """Return the spans that workers wrote to their logs, by name; the newest of each."""
    text = "\n".join(log.read_text() for log in folder.glob("worker-*.log"))
    found, at = {}, 0
    while (at := text.find('{\n    "name"', at)) >= 0:
        try:
            span, at = json.JSONDecoder().raw_decode(text, at)
        except ValueError:
            break  # the last one is being written
        found[span["name"]] = span
    return found


def workers_part(folder: Path, *names: str) -> dict[str, dict[str, Any]]:
    """Wait until workers have exported spans of these names."""
    return eventually(
        lambda: found if set(names) <= set(found := from_workers(folder)) else None, seconds=30, what=f"spans {names}"
    )


def lines_of_the_task(folder: Path) -> list[dict[str, Any]]:
    """Return what a worker logged about the task that computes, each line one JSON object."""
    text = "\n".join(log.read_text() for log in folder.glob("worker-*.log"))
    found = [json.loads(line) for line in text.splitlines() if line.startswith('{"')]
    return [line for line in found if line.get("task") == "fstore.get_or_compute"]


def test_one_request_is_one_trace_from_trainer_to_publish(
    house: House, tmp_path: Path, here: InMemorySpanExporter
) -> None:
    """The worker's spans hang below the trainer's, say what they are about, and log lines carry the trace's id."""
    house.start(concurrency=1, FEATURE_STORE_LOG_FORMAT="json", **TO_THE_LOG)

    house.store.get_or_compute("AAPL", RAW, {}, "tests.sample_features:scaled", timeout=60)

    asked = the(here, "fstore.get_or_compute")
    trace_id, span_id = hexed(asked)
    found = workers_part(tmp_path, *WORKERS_PART)
    task = found["task fstore.get_or_compute"]
    assert {found[name]["context"]["trace_id"] for name in WORKERS_PART} == {trace_id}
    assert task["parent_id"] == span_id
    assert {found[name]["parent_id"] for name in WORKERS_PART - {task["name"]}} == {task["context"]["span_id"]}
    assert dict(asked.attributes or {}) == {
        "fstore.symbol": "AAPL",
        "fstore.feature": "tests.sample_features:scaled",
        "fstore.key": task["attributes"]["fstore.key"],
        "fstore.status": "computed",
    }
    assert task["kind"] == "SpanKind.CONSUMER"
    assert task["attributes"]["fstore.status"] == "computed"
    assert task["resource"]["attributes"]["service.name"] == "fstore-worker"
    logged = eventually(lambda: lines_of_the_task(tmp_path), seconds=20, what="Celery's line")
    assert {f"0x{line['trace_id']}" for line in logged} == {trace_id}


def test_a_hit_is_one_span_and_a_failure_is_an_error_on_both_sides(
    house: House, tmp_path: Path, here: InMemorySpanExporter
) -> None:
    """A hit involves no worker; what the feature raised stands on the task's span and on the trainer's."""
    house.start(concurrency=1, **TO_THE_LOG)
    for _ in range(2):
        house.store.get_or_compute("AAPL", RAW, {}, "tests.sample_features:scaled", timeout=60)
    first, second = [span for span in here.get_finished_spans() if span.name == "fstore.get_or_compute"]
    assert [dict(span.attributes or {})["fstore.status"] for span in (first, second)] == ["computed", "hit"]
    here.clear()

    with pytest.raises(fstore.ComputeFailed):
        house.store.get_or_compute("TSLA", RAW, {}, "tests.sample_features:failing", timeout=60)

    asked = the(here, "fstore.get_or_compute")
    task = eventually(
        lambda: next((span for span in from_workers(tmp_path).values() if span["status"]["status_code"] == "ERROR"
                      and span["name"].startswith("task ")), None),
        seconds=30, what="the failed task's span",
    )  # fmt: skip
    assert asked.status.status_code is StatusCode.ERROR
    assert task["context"]["trace_id"] == hexed(asked)[0]
    assert "no price in row 17" in task["status"]["description"]


def test_work_in_threads_and_of_a_ticket_stays_in_its_trace(
    house: House, tmp_path: Path, here: InMemorySpanExporter
) -> None:
    """A local compute runs in a thread and is published by a worker, a ticket is answered later: the traces hold together."""
    house.start(concurrency=1, **TO_THE_LOG)
    doubled = fstore.local(lambda raw, config: raw * 2, version="1", name="tests:doubled")

    house.store.get_or_compute("AAPL", RAW, {}, doubled, timeout=60)

    asked = the(here, "fstore.get_or_compute")
    assert the(here, "fstore.compute").context.trace_id == asked.context.trace_id
    published = workers_part(tmp_path, "task fstore.publish")["task fstore.publish"]
    assert published["context"]["trace_id"] == hexed(asked)[0]
    assert published["parent_id"] == hexed(the(here, "fstore.publish"))[1]

    house.store.submit("MSFT", RAW, {}, "tests.sample_features:scaled").result(timeout=60)
    computed = workers_part(tmp_path, "task fstore.get_or_compute")["task fstore.get_or_compute"]
    assert (computed["context"]["trace_id"], computed["parent_id"]) == hexed(the(here, "fstore.submit"))


def test_many_requests_are_one_trace_and_leave_the_callers_own_alone(
    house: House, tmp_path: Path, here: InMemorySpanExporter
) -> None:
    """All requests of one call belong to its span; what the caller does with a result between two of them does not."""
    house.start(concurrency=1, **TO_THE_LOG)
    requests = [fstore.Request(symbol, RAW, {}, "tests.sample_features:scaled") for symbol in ("AAPL", "MSFT")]

    for _ in house.store.get_or_compute_many(requests, timeout=60):
        assert not trace.get_current_span().get_span_context().is_valid

    asked = the(here, "fstore.get_or_compute_many")
    assert dict(asked.attributes or {}) == {"fstore.requests": "2"}
    computed = workers_part(tmp_path, "fstore.compute")["fstore.compute"]
    assert computed["context"]["trace_id"] == hexed(asked)[0]


def test_a_program_without_opentelemetry_loses_nothing(house: House) -> None:
    """Where it is not installed all goes on as ever; where nobody set it up, nothing is traced or sent."""
    house.start(concurrency=1)
    code = (
        "import sys\n"
        "if sys.argv[1] == 'absent':\n"
        "    sys.modules['opentelemetry'] = None\n"
        "import pandas, fstore\n"
        "from fstore.runtime import tracing\n"
        "with fstore.connect() as store:\n"
        "    frame = pandas.DataFrame({'price': [1.0, 2.0]})\n"
        "    answer = store.get_or_compute(sys.argv[1], frame, {}, 'tests.sample_features:scaled', timeout=60)\n"
        "assert list(answer['price']) == [2.0, 4.0]\n"
        "assert tracing.headers() == {} and tracing.trace_id() is None\n"
        "loaded = [name for name in list(sys.modules) if name.startswith('opentelemetry.')]\n"
        "assert sys.argv[1] != 'absent' or not loaded, loaded\n"
    )

    for kind in ("absent", "unused"):
        done = subprocess.run(
            [sys.executable, "-c", code, kind],
            env={**os.environ, **house.environment, "PYTHONPATH": str(REPOSITORY)},
            check=False,
            capture_output=True,
            timeout=90,
        )
        assert done.returncode == 0, done.stderr.decode()


def test_a_worker_refuses_an_exporter_that_is_not_there(house: House) -> None:
    """A worker that could not export what it was told to says which exporters are installed."""
    with pytest.raises(
        fstore.ConfigurationError,
        match=r"(?s)'nowhere' is not installed, console.*pip install 'intraday-fstore\[otel\]'",
    ):
        house.start(concurrency=1, FEATURE_STORE_TRACE_EXPORTER="nowhere")


UNTAKEN = """
from contextlib import nullcontext
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from fstore.runtime import tracing

before = isinstance(tracing.span("fstore.x", symbol="S"), nullcontext)
trace.set_tracer_provider(TracerProvider())
with tracing.span("fstore.x", symbol="S"):
    inside = tracing.trace_id()
print(before, inside is not None)
"""


def test_spans_that_nobody_takes_are_not_made() -> None:
    """Drivers load OpenTelemetry's words wherever they are installed; a program that sets it up has its spans from then on."""
    done = subprocess.run(
        [sys.executable, "-c", UNTAKEN], capture_output=True, text=True, timeout=60, check=False, cwd=REPOSITORY
    )
    assert done.stdout.split() == ["True", "True"], done.stderr
