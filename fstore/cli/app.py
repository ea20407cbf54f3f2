"""The ``fstore`` command: its verbs by family, loaded when they are used, and what becomes of errors."""

from __future__ import annotations

import contextlib
import errno
import importlib
import io
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from fstore.cli import errors
from fstore.cli.context import Call, Words, common
from fstore.errors import FeatureStoreError

_OUTPUT_LOST = (errno.ENOSPC, errno.EDQUOT, errno.EIO)


@dataclass(frozen=True, slots=True)
class Family:
    """Verbs that belong together; each is the ``command`` of ``fstore/cli/commands/<folder>/<verb>.py``.

    The sentence beside a verb is the first one of its help, so that listing all of
    them loads none.
    """

    title: str
    folder: str
    verbs: Mapping[str, str]


FAMILIES = (
    Family("Start here", "start", {
        "demo": "Run the main job: trainers share one cache through real workers, Postgres and Redis.",
        "up": "Start Postgres, Redis, workers, Beat and Flower on this machine, without root or Docker.",
        "down": "Stop exactly what 'fstore up' started; the data stay.",
        "restart": "Restart processes of the running stack; without names the workers, with your code as it is now.",
        "status": "Show what runs on this machine for the store.",
        "logs": "Show the end of the logs of the local stack, and what prints in features wrote.",
        "doctor": "Check settings, packages, servers, workers and clocks; say what to do about each fault.",
        "config": "Show every setting with its value and origin; secrets are masked.",
    }),
    Family("Look", "look", {
        "ls": "List entries, the newest first.",
        "show": "Show everything known about one KEY, or its first digits (6 or more): entry, usage, job.",
        "explain": "Tell whether a request hits and why not, and who computes it.",
        "features": "List the features that can be asked for, with their versions and what the store has of them.",
        "jobs": "List computations that wait, run, failed or died; watch, retry, cancel or forget them.",
        "stats": "Show the counters since the store was made: hits, misses, computations, degraded answers.",
        "overview": "Show what the store holds: entries and sizes, what is old, what is orphaned, by symbol and feature.",
        "report": "Show how the store did: hit ratio, sizes, failing features, upkeep, degraded periods, jobs.",
        "metrics": "Serve Prometheus metrics of the whole store at /metrics, and whether they can be read at /healthz.",
    }),
    Family("Write features", "write", {
        "check-feature": "Find out on real data whether a feature may be computed by partitions as it declares.",
    }),
    Family("Change", "change", {
        "ingest": "Write raw data from SRC (CSV, Parquet or Arrow; a file or a folder) to DEST as sealed Parquet.",
        "get": "Ask for one feature of SYMBOL's data in RAW, compute it if need be, and show or write it.",
        "warm": "Have everything computed that a file of requests names and the store lacks.",
        "invalidate": "Condemn entries: hidden now, deleted after the grace period, computed again when asked for.",
        "pin": "Keep entries whatever their age and the space: garbage collection leaves them alone.",
        "unpin": "Let garbage collection decide again about entries that were pinned.",
        "migrate": "Bring database and folder to what this version needs; safe to repeat.",
    }),
    Family("Upkeep", "upkeep", {
        "gc": "Give up what the policy no longer keeps: hide it now, delete it after the grace period.",
        "verify": "Read cached files to their last byte and compare them with the manifest.",
    }),
    Family("Production", "production", {
        "worker": "Run a Celery worker in the foreground; further arguments are Celery's.",
        "beat": "Run Beat, which schedules upkeep, in the foreground; further arguments are Celery's.",
        "flower": "Run Flower, the view on workers and tasks, with the shipped settings.",
        "ops": "Write out what runs fstore for a team: compose file, units, alerts, dashboard, settings.",
    }),
)  # fmt: skip
FOLDERS = {verb: family.folder for family in FAMILIES for verb in family.verbs}


class Verbs(Words):
    """A group that lists its commands by family, and loads one when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order of the families."""
        return list(FOLDERS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Load a command; None for a name that nobody knows."""
        if cmd_name not in FOLDERS:
            return None
        home = importlib.import_module(f"fstore.cli.commands.{FOLDERS[cmd_name]}.{cmd_name.replace('-', '_')}")
        command: click.Command = home.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write one section for each family."""
        for family in FAMILIES:
            with formatter.section(family.title):
                formatter.write_dl(list(family.verbs.items()))

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[Any]:
        """Complete names without loading what they stand for."""
        from click.shell_completion import CompletionItem  # noqa: PLC0415 only shells ask

        told = [(verb, text) for family in FAMILIES for verb, text in family.verbs.items()]
        options = click.Command.shell_complete(self, ctx, incomplete)
        return [*(CompletionItem(verb, help=text) for verb, text in told if verb.startswith(incomplete)), *options]

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; click would end the process with 1 when the reader of a pipe has seen enough."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            _drop_output()
            return errors.OK


def version() -> str:
    """Return the installed version."""
    from importlib import metadata  # noqa: PLC0415 only --version asks

    try:
        return metadata.version("intraday-fstore")
    except metadata.PackageNotFoundError:
        return "unknown (not installed)"


def _show_version(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    if value:
        click.echo(f"fstore, version {version()}")
        ctx.exit()


@click.group(
    cls=Verbs,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog=errors.codes(*(code for code in errors.MEANINGS)),
)
@click.option("--version", is_flag=True, expose_value=False, is_eager=True, callback=_show_version, help="Show the version.")  # fmt: skip
@common()
def app() -> None:
    """A shared, verified feature cache for people who train models on intraday market data."""


def run(arguments: Sequence[str]) -> int:
    """Run a command and return its exit code.

    Every error becomes a message, in JSON if that was asked for.
    """
    if arguments[:1] == ["help"]:
        arguments = [*arguments[1:], "--help"]
    as_json = "--json" in arguments
    if sys.stdout is None:  # closed by whoever started this process
        sys.stdout = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    # Feature modules are found here, as in the user's own programs; last, so that nothing is hidden.
    if (here := _folder_here()) is not None and str(here) not in sys.path:
        sys.path.append(str(here))
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a symbol the terminal cannot show is no reason to fail
    code: object = errors.OK
    try:
        code = app.main(list(arguments), prog_name="fstore", standalone_mode=False, obj=Call())
        with contextlib.suppress(BrokenPipeError):
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
    except Exception as error:
        return _unexpected(error, as_json=as_json)
    return code if isinstance(code, int) else errors.OK


def _unexpected(error: Exception, *, as_json: bool) -> int:
    if isinstance(error, OSError) and error.errno in _OUTPUT_LOST and error.filename is None:
        _drop_output()
        text = f"cannot write the output: {error.strerror}"
        return _fail(errors.document("OutputLost", text), errors.UNAVAILABLE, as_json=as_json)
    if isinstance(error, FileNotFoundError) and _folder_here() is None:
        gone = "the folder that this command was called in is gone; call it from one that exists"
        return _fail(errors.document("FolderGone", gone), errors.USAGE, as_json=as_json)
    text = f"a bug in fstore, please report it: {type(error).__name__}: {error} ({_place(error)})"
    return _fail(errors.document(type(error).__name__, text), errors.INTERNAL, as_json=as_json)


def _folder_here() -> Path | None:
    try:
        return Path.cwd()
    except FileNotFoundError:  # removed below this shell
        return None


def _drop_output() -> None:
    """Let what is still to be written go nowhere.

    Python would complain once more when it flushes at exit.
    """
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _fail(document: dict[str, dict[str, str]], code: int, *, as_json: bool) -> int:
    from fstore.cli import output  # noqa: PLC0415 help is shown without it

    with contextlib.suppress(BrokenPipeError):
        if as_json:
            output.print_json(document)
        else:
            output.say(f"fstore: {document['error']['message']}", style="red")
    return code


def _place(error: Exception) -> str:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}" if trace is not None else "unknown place"
