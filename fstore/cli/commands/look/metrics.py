"""``fstore metrics``: serve the whole store's metrics to Prometheus."""

from __future__ import annotations

import socketserver
import wsgiref.simple_server
from collections.abc import Callable, Iterable
from typing import Any

import click
from prometheus_client import CollectorRegistry, generate_latest, make_wsgi_app

from fstore.bootstrap import open_resources
from fstore.cli import errors, output
from fstore.cli.context import Call, common, pass_call
from fstore.errors import ConfigurationError
from fstore.reporting import StoreCollector
from fstore.runtime.logs import configure_logging

PORT = 9464
Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class _Server(socketserver.ThreadingMixIn, wsgiref.simple_server.WSGIServer):
    daemon_threads = True


class _Quiet(wsgiref.simple_server.WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: a line a scrape helps nobody."""


@click.command("metrics", epilog=errors.codes(errors.UNAVAILABLE))
@click.option("--port", type=click.IntRange(0, 65535), default=PORT, show_default=True, help="0 takes a free one.")
@click.option("--address", default="127.0.0.1", show_default=True, help="0.0.0.0 listens on all interfaces.")
@click.option("--once", is_flag=True, help="Print the metrics once and end.")
@common()
@pass_call
def command(call: Call, port: int, address: str, once: bool) -> int:
    """Serve Prometheus metrics of the whole store at /metrics, and whether they can be read at /healthz."""
    settings = call.settings()
    if not settings.enable_metrics:
        raise ConfigurationError(
            [f"metrics are switched off ({settings.origins['enable_metrics']}); set enable_metrics"]
        )
    resources = open_resources(settings, role="metrics")
    registry = CollectorRegistry()
    collector = StoreCollector(resources)
    registry.register(collector)
    try:
        if once:
            text = generate_latest(registry).decode()
            output.print_json({"metrics": text}) if call.as_json else click.echo(text, nl=False)
            return errors.OK if collector.is_healthy else errors.UNAVAILABLE
        configure_logging(settings)
        _serve(_application(registry, collector), address, port)
    finally:
        resources.close()
    return errors.OK


def _serve(application: Application, address: str, port: int) -> None:
    try:
        server = wsgiref.simple_server.make_server(address, port, application, _Server, _Quiet)
    except OSError as error:
        raise ConfigurationError([f"cannot listen on {address}:{port}: {error}; choose another --port"]) from error
    with server:
        output.say(f"metrics on http://{address}:{server.server_port}/metrics")
        server.serve_forever()


def _application(registry: CollectorRegistry, collector: StoreCollector) -> Application:
    exposed: Application = make_wsgi_app(registry)

    def answer(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if environ["PATH_INFO"] == "/metrics":
            return exposed(environ, start_response)
        if environ["PATH_INFO"] != "/healthz":
            start_response("404 Not Found", [("Content-Type", "text/plain")])
            return [b"/metrics or /healthz\n"]
        list(collector.collect())
        start_response(
            "200 OK" if collector.is_healthy else "503 Service Unavailable", [("Content-Type", "text/plain")]
        )
        return [b"ok\n" if collector.is_healthy else b"cannot read the counters\n"]

    return answer
