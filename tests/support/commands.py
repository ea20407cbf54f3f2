"""Runs ``fstore`` commands as a user of a test's store would, in this process."""

from __future__ import annotations

import contextlib
import io
import json
import os
from dataclasses import dataclass
from typing import Any
from unittest import mock

from fstore.cli.app import run
from tests.conftest import House


@dataclass(frozen=True)
class Said:
    """What a command answered."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        """Read stdout, all of it, as one JSON document."""
        document = json.loads(self.out)
        assert isinstance(document, dict)
        return document


def fstore(house: House, *arguments: object, **changed: str) -> Said:
    """Run ``fstore <arguments>`` under the store's settings; ``changed`` are variables that differ."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("FEATURE_STORE_", "CELERY_"))}
    environment = {**kept, **house.environment, **changed}
    with (
        mock.patch.dict(os.environ, environment, clear=True),
        contextlib.redirect_stdout(io.StringIO()) as out,
        contextlib.redirect_stderr(io.StringIO()) as err,
    ):
        code = run([str(argument) for argument in arguments])
    assert "Traceback" not in err.getvalue()
    return Said(code, out.getvalue(), err.getvalue())
