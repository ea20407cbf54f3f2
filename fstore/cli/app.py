"""The ``fstore`` command: its families, and what becomes of errors."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

import click

from fstore.cli import errors, output
from fstore.cli.commands import change, ingest, look, metrics, report, stack, upkeep
from fstore.cli.commands import config as settings
from fstore.cli.context import Call, common
from fstore.cli.demo import command as demo
from fstore.cli.doctor import command as doctor
from fstore.errors import FeatureStoreError

FAMILIES: tuple[tuple[str, tuple[click.Command, ...]], ...] = (
    ("Start here", (demo.demo, stack.up, stack.down, stack.status, doctor.doctor, settings.config)),
    ("Look", (look.ls, look.show, look.explain, look.stats, look.overview, report.report, metrics.metrics)),
    ("Change", (ingest.ingest, change.invalidate, change.migrate)),
    ("Upkeep", (upkeep.gc, upkeep.verify)),
)


class Families(click.Group):
    """A group that lists its commands by family, in the order a newcomer needs them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order of the families."""
        return [str(command.name) for _, commands in FAMILIES for command in commands]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write one section for each family."""
        for title, commands in FAMILIES:
            with formatter.section(title):
                formatter.write_dl([(str(c.name), c.get_short_help_str(limit=200)) for c in commands])


def version() -> str:
    """Return the installed version."""
    try:
        return metadata.version("intraday-fstore")
    except metadata.PackageNotFoundError:
        return "unknown (not installed)"


@click.group(
    cls=Families,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog=errors.codes(*(code for code in errors.MEANINGS)),
)
@click.version_option(version(), prog_name="fstore")
@common()
def app() -> None:
    """A shared, verified feature cache for people who train models on intraday market data."""


for _, members in FAMILIES:
    for member in members:
        app.add_command(member)


def run(arguments: Sequence[str]) -> int:
    """Run a command and return its exit code; every error becomes a message, in JSON if that was asked for."""
    as_json = "--json" in arguments
    if str(Path.cwd()) not in sys.path:
        sys.path.append(
            str(Path.cwd())
        )  # feature modules are found here, as in the user's own programs; last, so that nothing is hidden
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a symbol the terminal cannot show is no reason to fail
    code: object = errors.OK
    try:
        code = app.main(list(arguments), prog_name="fstore", standalone_mode=False, obj=Call())
        sys.stdout.flush()
    except FeatureStoreError as error:
        return _fail(errors.as_document(error), errors.exit_code(error), as_json=as_json)
    except click.ClickException as error:
        if isinstance(error, click.UsageError) and not as_json:
            error.show()
            return errors.USAGE
        return _fail(errors.document(type(error).__name__, error.format_message()), errors.USAGE, as_json=as_json)
    except (KeyboardInterrupt, click.Abort):
        return _fail(errors.document("Interrupted", "interrupted"), errors.INTERRUPTED, as_json=as_json)
    except BrokenPipeError:
        # The reader has seen enough; Python would complain once more when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except Exception as error:
        text = f"a bug in fstore, please report it: {type(error).__name__}: {error} ({_place(error)})"
        return _fail(errors.document(type(error).__name__, text), errors.INTERNAL, as_json=as_json)
    return code if isinstance(code, int) else errors.OK


def _fail(document: dict[str, dict[str, str]], code: int, *, as_json: bool) -> int:
    with contextlib.suppress(BrokenPipeError):
        if as_json:
            output.print_json(document)
        else:
            output.stderr().print(f"fstore: {document['error']['message']}", style="red", soft_wrap=True)
    return code


def _place(error: Exception) -> str:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}" if trace is not None else "unknown place"
