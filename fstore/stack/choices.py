"""What the first start chooses and every later start keeps: passwords, ports and places."""

from __future__ import annotations

import json
import secrets
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

from fstore.errors import ConfigurationError
from fstore.stack_state import write_private


def _secret() -> str:
    return secrets.token_hex(16)


@dataclass(frozen=True, slots=True)
class Choices:
    """Passwords, ports and places of one stack; the file is readable by its owner only.

    ``servers_home`` is set when the data folders of the servers could not lie
    below the root, ``runtime`` is the short folder of the Unix socket.
    """

    postgres_password: str = field(default_factory=_secret, repr=False)
    redis_password: str = field(default_factory=_secret, repr=False)
    flower_password: str = field(default_factory=_secret, repr=False)
    flower_cookie: str = field(default_factory=_secret, repr=False)
    signing_key: str = field(default_factory=_secret, repr=False)
    redis_port: int | None = None
    flower_port: int | None = None
    servers_home: str | None = None
    runtime: str | None = None


def load_choices(path: Path) -> Choices:
    """Read the choices of earlier starts; new ones when there is no file yet."""
    try:
        raw = {"signing_key": _secret(), **json.loads(path.read_text())}  # stacks of earlier versions have no such key
        return Choices(**{f.name: raw[f.name] for f in fields(Choices)})
    except FileNotFoundError:
        return Choices()
    except (OSError, ValueError, TypeError, KeyError) as exc:
        raise ConfigurationError(
            [
                f"cannot read {path}: {exc}; it holds the database's password: restore it, or move its folder aside to start empty"
            ]
        ) from exc


def save_choices(path: Path, choices: Choices) -> None:
    """Write the choices, whole or not at all."""
    write_private(path, json.dumps(asdict(choices), indent=2) + "\n")
