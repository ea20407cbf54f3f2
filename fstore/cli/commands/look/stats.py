"""``fstore stats``: the store's counters."""

from __future__ import annotations

import click

from fstore.cli import errors, output
from fstore.cli.context import Call, common, pass_call


@click.command("stats", epilog=errors.codes(errors.UNAVAILABLE))
@common()
@pass_call
def command(call: Call) -> int:
    """Show the counters since the store was made: hits, misses, computations, degraded answers.

    What garbage collection freed is among them.
    """
    with call.store() as store:
        counters = store.get_cache_stats()
    requests = counters["cache_hits"] + counters["cache_misses"]
    share = f"{100 * counters['cache_hits'] / requests:.1f} % of {requests} requests" if requests else "no requests yet"
    call.show(dict(counters), output.facts([*counters.items(), ("hit rate", share)]))
    return errors.OK
