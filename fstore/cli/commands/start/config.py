"""``fstore config``: every setting, its value, and where that value was written."""

from __future__ import annotations

from pathlib import Path

import click

from fstore.cli import errors, output
from fstore.cli.context import Call, common, pass_call
from fstore.cli.secrets import init_secrets
from fstore.cli.shipped import shipped_file
from fstore.errors import ConfigurationError

REDIS_RULES = Path("ops/redis/users.acl")


@click.command("config", epilog=errors.codes())
@click.option("--changed", is_flag=True, help="Only what is not a default.")
@click.option(
    "--init-secrets",
    "secrets_folder",
    type=click.Path(path_type=Path, file_okay=False),
    is_flag=False,
    flag_value=Path("secrets"),
    metavar="[DIR]",
    help="Write the secrets that docker-compose.yml and ops/systemd ask for to DIR (./secrets); what is there stays.",
)
@common()
@pass_call
def command(call: Call, changed: bool, secrets_folder: Path | None) -> int:
    """Show every setting with its value and origin; secrets are masked.

    An argument wins over the environment, that over the file, that over a running
    stack, that over the default. All faults are reported at once.
    """
    if secrets_folder is not None:
        return _init_secrets(call, secrets_folder)
    rows = [row for row in call.settings().describe() if not (changed and row.origin == "default")]
    made = output.table(
        "setting", output.Column("value", least=24), output.Column("origin", leave=1), output.Column("meaning", leave=2)
    )
    for row in rows:
        made.add_row(
            row.name, row.value or "-", row.origin, row.meaning, style="dim" if row.origin == "default" else None
        )
    call.show({"settings": [row._asdict() for row in rows]}, made)
    return errors.OK


def _init_secrets(call: Call, folder: Path) -> int:
    rules = REDIS_RULES if REDIS_RULES.exists() else shipped_file(REDIS_RULES.as_posix())
    try:
        text = rules.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigurationError([f"cannot read {rules}: {error.strerror}"]) from error
    made = init_secrets(folder, text)
    call.show(
        {"folder": str(folder), "written": [path.name for path in made]},
        f"wrote {len(made)} secrets to {folder}; keep a copy where only administrators see it"
        if made
        else f"{folder} lacks nothing",
    )
    return errors.OK
