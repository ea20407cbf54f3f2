"""``fstore doctor``: is everything set up as it has to be, and what to do where it is not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict

import click

from fstore.bootstrap import open_resources
from fstore.cli import errors, output
from fstore.cli.context import Call, common, pass_call
from fstore.cli.doctor.features import check_coverage, describe_features
from fstore.cli.doctor.local_checks import (
    Finding,
    Severity,
    check_features,
    check_folder,
    check_packages,
    check_settings,
    fault,
    ok,
    warning,
)
from fstore.cli.doctor.server_checks import check_postgres, check_redis
from fstore.cli.doctor.worker_checks import check_workers
from fstore.errors import ConfigurationError
from fstore.settings import Settings
from fstore.stack import status

STYLES = {Severity.OK: "green", Severity.WARNING: "yellow", Severity.FAULT: "red"}


@click.command(
    "doctor", epilog=errors.codes(errors.WRONG, wrong="at least one fault was found; warnings alone exit with 0")
)
@click.option("--before-start", is_flag=True, help="Leave out workers and Beat, which do not run yet.")
@common()
@pass_call
def command(call: Call, before_start: bool) -> int:
    """Check settings, packages, servers, workers and clocks; say what to do about each fault.

    Servers are Postgres and Redis, or an object store; folders are looked at too.
    """
    findings = tuple(examine(call, before_start=before_start))
    known = describe_features()
    count = {level: sum(f.level is level for f in findings) for level in Severity}
    made = output.table("", "check", output.Column("found", least=20, wraps=True))
    for found in findings:
        text = f"{found.detail}\n-> {found.advice}" if found.advice else found.detail
        made.add_row(
            str(found.level), found.check, text, style=None if found.level is Severity.OK else STYLES[found.level]
        )
    document = {
        "healthy": not count[Severity.FAULT],
        "count": {str(k): n for k, n in count.items()},
        "findings": [asdict(f) for f in findings],
        "features": known,
    }
    call.show(
        document, made, f"{count[Severity.OK]} ok, {count[Severity.WARNING]} warnings, {count[Severity.FAULT]} faults"
    )
    return errors.WRONG if count[Severity.FAULT] else errors.OK


def examine(call: Call, *, before_start: bool = False) -> Iterator[Finding]:
    """Make every check that can be made; what is broken hides only what depends on it."""
    yield from check_packages()
    try:
        settings = call.settings()
    except ConfigurationError as error:
        for text in error.faults:
            yield fault("settings", text, "correct the setting; 'fstore config' shows where each is written")
        return
    yield from check_settings(settings)
    yield from check_features(settings)
    yield from check_coverage()
    yield from check_folder(settings)
    yield from _check_stack(settings)
    try:
        resources = open_resources(settings, role="doctor")
    except ConfigurationError as error:
        for text in error.faults:
            yield fault("servers", text, "'fstore up' starts a local stack")
        return
    try:
        yield from check_postgres(resources)
        yield from check_redis(resources)
        if not before_start:
            yield from check_workers(resources)
    finally:
        resources.close()


def _check_stack(settings: Settings) -> Iterator[Finding]:
    found = status(settings.stack_folder)
    if not found.running:
        if found.phase == "killed":
            yield warning(
                "stack", f"the stack on {found.root} was killed", "'fstore up' starts it again, 'fstore down' tidies up"
            )
        return
    bad = [child.name for child in found.children if not child.alive or child.phase != "running"]
    if found.phase != "ready" or bad:
        yield fault(
            "stack",
            f"{found.phase}, not running: {', '.join(bad) or 'nothing'}",
            "see 'fstore status' and the logs it names",
        )
    else:
        yield ok("stack", f"{len(found.children)} processes run on {found.root}")
    restarts = sum(child.restarts for child in found.children)
    if restarts:
        yield warning("stack", f"{restarts} restarts since it was started", "see the logs that 'fstore status' names")
