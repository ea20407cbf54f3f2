"""``fstore config``: every setting, its value, and where that value was written."""

from __future__ import annotations

from pathlib import Path

import click

from fstore.cli import errors, output
from fstore.cli import secrets as secret_files
from fstore.cli.context import Call, common, pass_call
from fstore.errors import ConfigurationError

REDIS_RULES = Path("ops/redis/users.acl")


@click.command(epilog=errors.codes())
@click.option("--changed", is_flag=True, help="Only what is not a default.")
@click.option(
    "--init-secrets",
    type=click.Path(path_type=Path, file_okay=False),
    is_flag=False,
    flag_value=Path("secrets"),
    metavar="[DIR]",
    help="Write the secrets that docker-compose.yml and ops/systemd ask for to DIR (./secrets); what is there stays.",
)
@common()
@pass_call
def config(call: Call, changed: bool, init_secrets: Path | None) -> int:
    """Show every setting with its value and origin; secrets are masked.

    An argument wins over the environment, that over the file, that over a running
    stack, that over the default. All faults are reported at once.
    """
    if init_secrets is not None:
        return _init_secrets(call, init_secrets)
    rows = [row for row in call.settings().describe() if not (changed and row.origin == "default")]
    made = output.table("setting", "value", "origin", "meaning")
    for row in rows:
        made.add_row(
            row.name, row.value or "-", row.origin, row.meaning, style="dim" if row.origin == "default" else None
        )
    call.show({"settings": [row._asdict() for row in rows]}, made)
    return errors.OK


def _init_secrets(call: Call, folder: Path) -> int:
    try:
        rules = REDIS_RULES.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(
            [f"cannot read {REDIS_RULES}: {error.strerror}; run this in the folder of docker-compose.yml"]
        ) from error
    made = secret_files.init_secrets(folder, rules)
    call.show(
        {"folder": str(folder), "written": [path.name for path in made]},
        f"wrote {len(made)} secrets to {folder}; keep a copy where only administrators see it"
        if made
        else f"{folder} lacks nothing",
    )
    return errors.OK
