"""``fstore jobs``: the computations, and what an operator does about them."""

from __future__ import annotations

import getpass
import os
import socket
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import click

from fstore.broker import parse_compute
from fstore.cli import errors, output
from fstore.cli.context import Call, Words, common, pass_call
from fstore.cli.entries import SHOWN_DIGITS, full_key, job_document, short
from fstore.cli.tables import Table
from fstore.model import Job, JobState
from fstore.resources import Resources

MOST_AT_ONCE = 10_000
_STATES = click.Choice([str(state) for state in JobState])
_Act = Callable[[Resources, list[str]], set[str]]


@click.group("jobs", cls=Words, invoke_without_command=True, epilog=errors.codes(errors.UNAVAILABLE, errors.REFUSED))
@click.option("--state", type=_STATES, help="Only jobs in this state.")
@click.option("--symbol", metavar="S", help="Only jobs for this symbol.")
@click.option("--feature", metavar="MODULE:FUNCTION", help="Only jobs for this feature.")
@click.option("--limit", type=click.IntRange(1, 100_000), default=50, show_default=True, help="At most so many.")
@click.option("--watch", is_flag=True, help="Look again and again until nothing waits or runs, or until Ctrl-C.")
@click.option("--every", type=click.FloatRange(0.1, 3600), default=2.0, show_default=True, metavar="S", help="How often --watch looks.")  # fmt: skip
@common()
@pass_call
@click.pass_context
def command(
    ctx: click.Context, call: Call, state: str | None, symbol: str | None, feature: str | None, limit: int, watch: bool, every: float
) -> int:  # fmt: skip
    """List computations that wait, run, failed or died; watch, retry, cancel or forget them.

    What ended well is no job any more, but an entry: see 'fstore ls'. 'fstore show
    KEY' tells everything about one, with the error it ended with.
    """
    if ctx.invoked_subcommand is not None:
        return errors.OK
    chosen = {"state": JobState(state) if state else None, "symbol": symbol, "feature": feature, "limit": limit}
    with call.resources() as resources:
        while True:
            jobs, counts = resources.jobs.list_jobs(**chosen), resources.jobs.count_by_state()  # type: ignore[arg-type]
            by_state = {str(name): n for name, n in counts.items()}
            shown = ", ".join(f"{n} {name}" for name, n in by_state.items()) or "no jobs"
            document = {"jobs": [job_document(job) for job in jobs], "shown": len(jobs), "by_state": by_state}
            goes_on = watch and bool(by_state.get("queued") or by_state.get("running"))
            if not (goes_on and call.as_json):  # JSON is one document: how it stood at the end
                call.show(document, *([_table(jobs, datetime.now(UTC))] if jobs else []), shown)
            if not goes_on:
                return errors.OK
            time.sleep(every)


def _act(name: str, summary: str, states: tuple[JobState, ...], done: str) -> Callable[[_Act], click.Command]:
    """Make a command that does something to jobs.

    They are given by key, or by state, symbol and feature.
    """

    def decorate(act: _Act) -> click.Command:
        @command.command(
            name,
            help=summary,
            epilog=errors.codes(
                errors.WRONG, errors.UNAVAILABLE, errors.REFUSED, wrong="it could not be done for some of them"
            ),
        )
        @click.argument("keys", nargs=-1, metavar="[KEY]...")
        @click.option("--state", type=click.Choice([str(state) for state in states]), help="All jobs in this state.")
        @click.option("--symbol", metavar="S", help="All jobs for this symbol.")
        @click.option("--feature", metavar="MODULE:FUNCTION", help="All jobs for this feature.")
        @click.option("--dry-run", is_flag=True, help="Only tell which.")
        @common()
        @pass_call
        def run(call: Call, keys: tuple[str, ...], state: str | None, symbol: str | None, feature: str | None, dry_run: bool) -> int:  # fmt: skip
            if not keys and state is None and symbol is None and feature is None:
                raise click.UsageError("name keys, or a --state, --symbol or --feature")
            with call.resources() as resources:
                chosen = _chosen(resources, keys, states, state, symbol, feature)
                acted = set() if dry_run else act(resources, chosen)
            left = [key for key in chosen if key not in acted] if not dry_run else []
            what = output.number_of(len(chosen) if dry_run else len(acted), "job", "jobs")
            lines = [f"{'would be ' if dry_run else ''}{done}: {what}"]
            if left:
                lines.append(
                    f"not {done}: {output.listed([key[:SHOWN_DIGITS] for key in left])}; see 'fstore show KEY'"
                )
            call.show({"dry_run": dry_run, "chosen": chosen, done: sorted(acted), "left": left}, *lines)
            return errors.WRONG if left else errors.OK

        made: click.Command = run
        return made

    return decorate


@_act("cancel", "Stop jobs that wait or run, for good; their waiters are told, and nobody starts them until 'retry' or 'forget'.", (JobState.QUEUED, JobState.RUNNING), "cancelled")  # fmt: skip
def _cancel(resources: Resources, keys: list[str]) -> set[str]:
    cancelled = resources.jobs.cancel(keys, by=f"{_user()}@{socket.gethostname()}")
    resources.notifier.announce(sorted(cancelled), {})
    return cancelled


@_act("retry", "Have failed, dead and cancelled jobs computed again, now.", (JobState.FAILED, JobState.DEAD), "sent")
def _retry(resources: Resources, keys: list[str]) -> set[str]:
    requests = resources.jobs.restart(keys)
    for request in requests.values():
        resources.broker.send_compute(parse_compute(request))
    return set(requests)


@_act("forget", "Drop failed, dead and cancelled jobs; the next request for such a key computes it.", (JobState.FAILED, JobState.DEAD), "forgotten")  # fmt: skip
def _forget(resources: Resources, keys: list[str]) -> set[str]:
    return resources.jobs.forget(keys)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):  # a number without a name, as containers are given
        return f"user {os.getuid()}" if hasattr(os, "getuid") else "somebody"


def _chosen(
    resources: Resources,
    keys: Sequence[str],
    states: tuple[JobState, ...],
    state: str | None,
    symbol: str | None,
    feature: str | None,
) -> list[str]:
    """Return the keys that are meant: those named, else all jobs of which every condition holds."""
    if keys:
        return [full_key(resources, key) for key in keys]
    wanted = (JobState(state),) if state else states
    return [
        job.key
        for one in wanted
        for job in resources.jobs.list_jobs(state=one, symbol=symbol, feature=feature, limit=MOST_AT_ONCE)
    ]


def _table(jobs: Sequence[Job], now: datetime) -> Table:
    made = output.table(
        "key",
        "state",
        output.Column("symbol", least=6),
        output.Column("feature", least=16),
        output.Column("config", least=8, leave=2),
        output.Column("starts", right=True, leave=3),
        output.Column("for", right=True),
        output.Column("owner", least=8, leave=4),
        output.Column("error", least=12, leave=1),
    )
    for job in jobs:
        about: dict[str, Any] = job_document(job)
        since = job.finished_ts or job.started_ts or job.requested_ts
        error = f"{job.failure.error_type}: {job.failure.detail.partition(chr(10))[0]}" if job.failure else None
        state = f"{job.state}, lost" if job.lapsed and job.state is JobState.RUNNING else str(job.state)
        owner = job.owner.rpartition(":")[0] or None
        made.add_row(
            job.key[:SHOWN_DIGITS], state, about["symbol"], about["feature"], short(str(about["config"])), job.starts,
            _span((now - since).total_seconds()), owner, short(error, 80) if error else None,
        )  # fmt: skip
    return made


def _span(seconds: float) -> str:
    """Write a duration in one unit."""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(0.0, seconds):.0f} s"
