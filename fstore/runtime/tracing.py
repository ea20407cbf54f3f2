"""Spans from a trainer's call through its task to the publish, in programs that use OpenTelemetry.

In others, nothing. A trainer's spans go wherever its own program sends spans:
OpenTelemetry is never loaded here, so where the program does not use it a span costs a
look at a dict. Workers are fstore's own programs; a setting names their exporter. The
message carries nothing but the trace's id, so spans of both ends meet in one trace.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeVar

from fstore.errors import ConfigurationError

NAME = "fstore"
EXPORTERS = "opentelemetry_traces_exporter"  # the group under which OpenTelemetry's exporters register
HEADERS = ("traceparent", "tracestate")
_NOTHING: AbstractContextManager[None] = nullcontext()
_tasks: dict[str, AbstractContextManager[Any]] = {}
_stop: Callable[[], None] | None = None

T = TypeVar("T")


def span(name: str, **about: str | None) -> AbstractContextManager[Any]:
    """Time what the block does.

    ``about`` becomes attributes such as ``fstore.symbol``, an error of the block the
    span's error.
    """
    trace = _recording()
    if trace is None:
        return _NOTHING
    opened: AbstractContextManager[Any] = trace.get_tracer(NAME).start_as_current_span(
        name, attributes=_attributes(about)
    )
    return opened


def each(name: str, items: Iterator[T], **about: str | None) -> Iterator[T]:
    """Pass ``items`` on under one span.

    It is the current span only while the next item is made, not while it is used.
    """
    trace = _recording()
    if trace is None:
        yield from items
        return
    opened = trace.get_tracer(NAME).start_span(name, attributes=_attributes(about))
    try:
        while True:
            with trace.use_span(opened):
                try:
                    item = next(items)
                except StopIteration:
                    return
            yield item
    finally:
        opened.end()


def note(**about: str | None) -> None:
    """Add attributes to the span of the block that runs."""
    trace = _loaded()
    if trace is not None:
        trace.get_current_span().set_attributes(_attributes(about))


def carried(act: Callable[[], T]) -> Callable[[], T]:
    """Return ``act`` so that its spans belong to this trace when another thread runs it."""
    if _loaded() is None:
        return act
    from opentelemetry import context  # noqa: PLC0415 loaded already, if not by us

    here = context.get_current()

    def run() -> T:
        token = context.attach(here)
        try:
            return act()
        finally:
            context.detach(token)

    return run


def headers() -> dict[str, str]:
    """Return what a message has to carry for the receiver's spans to join this trace.

    Empty where nothing is traced.
    """
    carrier: dict[str, str] = {}
    if _loaded() is not None:
        # The default propagator would send baggage too: whatever the trainer's program keeps there is not ours to pass on.
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator  # noqa: PLC0415

        TraceContextTextMapPropagator().inject(carrier)
    return carrier


def begin_task(task_id: str, name: str, message: object, **about: str | None) -> None:
    """Open a task's span below the sender's.

    ``message`` has the headers as attributes. ``end_task`` closes it.
    """
    trace = _loaded()
    if trace is None:
        return
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator  # noqa: PLC0415 see headers

    found = {header: value for header in HEADERS if isinstance(value := getattr(message, header, None), str)}
    opened = trace.get_tracer(NAME).start_as_current_span(
        f"task {name}",
        context=TraceContextTextMapPropagator().extract(found),
        kind=trace.SpanKind.CONSUMER,
        attributes=_attributes({"task_id": task_id, **about}),
    )
    opened.__enter__()
    _tasks[task_id] = opened


def end_task(task_id: str, error: BaseException | None = None, **about: str | None) -> None:
    """Close a task's span with what it came to; harmless when none is open."""
    opened = _tasks.pop(task_id, None)
    if opened is not None:
        note(**about)
        opened.__exit__(type(error) if error else None, error, None)


def trace_id() -> str | None:
    """Return the id of the trace that this is part of, as logs show it; None where nothing is traced."""
    trace = _loaded()
    found = trace.get_current_span().get_span_context() if trace is not None else None
    return trace.format_trace_id(found.trace_id) if trace is not None and found is not None and found.is_valid else None


def export(exporter: str) -> None:
    """Send this process's spans to an exporter, set up by OpenTelemetry's own ``OTEL_*`` variables.

    To be called after a fork. A program that set up OpenTelemetry already keeps what it
    chose. Raises ``ConfigurationError``; see ``find_exporter``.
    """
    make = find_exporter(exporter)
    from opentelemetry import trace  # noqa: PLC0415 only processes that were told to export pay for it
    from opentelemetry.sdk.resources import OTELResourceDetector, Resource  # noqa: PLC0415
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415

    if isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
        about = Resource.create({"service.name": "fstore-worker"}).merge(OTELResourceDetector().detect())
        provider = TracerProvider(resource=about)
        provider.add_span_processor(BatchSpanProcessor(make()))
        trace.set_tracer_provider(provider)
        global _stop  # noqa: PLW0603 one provider a process is OpenTelemetry's own rule
        _stop = provider.shutdown


def stop() -> None:
    """Hand over the spans that wait; harmless when nothing is exported."""
    if _stop is not None:
        _stop()


def find_exporter(name: str) -> Callable[[], Any]:
    """Return the exporter registered under a name, such as ``otlp_proto_http`` or ``console``.

    Raises ``ConfigurationError`` that names those that are installed.
    """
    from importlib.metadata import entry_points  # noqa: PLC0415 few processes export anything

    known = {found.name: found for found in entry_points(group=EXPORTERS)}
    if name not in known:
        fault = f"trace_exporter: {name!r} is not installed, {', '.join(sorted(known)) or 'nothing'} is"
        raise ConfigurationError([f"{fault}; install it with: pip install 'intraday-fstore[otel]'"])
    try:
        made: Callable[[], Any] = known[name].load()
    except ImportError as error:
        raise ConfigurationError([f"trace_exporter: {name!r} cannot be loaded: {error}"]) from error
    return made


def _attributes(about: dict[str, str | None]) -> dict[str, str]:
    return {f"{NAME}.{name}": str(value) for name, value in about.items() if value}


def _loaded() -> Any:
    """Return OpenTelemetry's tracing module if this program has loaded all of it."""
    found = sys.modules.get("opentelemetry.trace")
    return found if hasattr(found, "__all__") else None


def _recording() -> Any:
    """Return it if this program chose who takes its spans.

    Until then a span is made, passed on and seen by nobody. Drivers load OpenTelemetry's words wherever they are
    installed, and each span takes as long as a SELECT.
    """
    trace = _loaded()
    if trace is None or isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
        return None
    return trace
