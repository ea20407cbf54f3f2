"""SQL lies in files of its own, as named statements with their purpose and their danger."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from importlib import resources


@cache
def statements(name: str) -> Mapping[str, str]:
    """Return the named statements of ``fstore/postgres/sql/<name>.sql``; each starts with ``-- name: <statement>``."""
    text = resources.files("fstore.postgres").joinpath("sql", f"{name}.sql").read_text(encoding="utf-8")
    parts = re.split(r"^-- name: (\w+)\s*$", text, flags=re.MULTILINE)[1:]
    return {
        key: "\n".join(line for line in body.splitlines() if not line.lstrip().startswith("--")).strip()
        for key, body in zip(parts[::2], parts[1::2], strict=True)
    }
