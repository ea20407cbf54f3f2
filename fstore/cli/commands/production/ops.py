"""``fstore ops``: what runs fstore for a team, out of the installed package."""

from __future__ import annotations

from pathlib import Path

import click

from fstore.cli import errors, output
from fstore.cli.context import Call, Words, common, pass_call
from fstore.cli.shipped import shipped_files
from fstore.errors import ConfigurationError


@click.group("ops", cls=Words, epilog=errors.codes())
@common()
def command() -> None:
    """Write out what runs fstore for a team: compose file, units, alerts, dashboard, settings.

    Units are those of systemd, settings those of servers.
    """


@command.command("export", epilog=errors.codes())
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path, file_okay=False))
@click.option("--force", is_flag=True, help="Replace files that differ; without it nothing is written then.")
@common()
@pass_call
def export(call: Call, folder: Path, force: bool) -> int:
    """Write the files of this version to DIR: docker-compose.yml and ops/ with its README.

    'fstore config --init-secrets' in DIR then makes the secrets they ask for.
    """
    files = shipped_files()
    try:
        differing = [name for name, path in files.items() if _differs(folder / name, path)]
    except OSError as error:
        raise ConfigurationError([f"cannot read {folder}: {error}; name another folder"]) from error
    if differing and not force:
        raise ConfigurationError(
            [
                f"{folder} holds other versions of {output.listed(differing)}; look at them, then use --force, or name another folder"
            ]
        )
    written = []
    try:
        for name, path in files.items():
            target = folder / name
            if not target.exists() or _differs(target, path):
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(path.read_bytes())
                target.chmod(0o755 if path.suffix == ".sh" else 0o644)
                written.append(name)
    except OSError as error:
        raise ConfigurationError([f"cannot write to {folder}: {error}; name another folder"]) from error
    what = f"wrote {output.number_of(len(written), 'file', 'files')} to {folder}; begin with {folder}/ops/README.md"
    call.show({"folder": str(folder), "written": written}, what if written else f"{folder} has them all")
    return errors.OK


def _differs(target: Path, path: Path) -> bool:
    return target.exists() and (not target.is_file() or target.read_bytes() != path.read_bytes())
