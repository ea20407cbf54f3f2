"""Log lines as an event and its fields: JSON off a terminal, text on one.

What a process is working on is bound once and then stands in every line that is
written meanwhile, by whichever library.
"""

from __future__ import annotations

import logging
import sys
from typing import Any

from fstore.settings import Settings

KEY_DIGITS = 12


def configure_logging(settings: Settings) -> None:
    """Send every record of this process to stderr in the chosen form.

    Called by processes of fstore, never by the library.
    """
    import structlog  # noqa: PLC0415 a trainer's own program decides how it logs

    as_text = settings.log_format == "text" or (settings.log_format == "auto" and sys.stderr.isatty())
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    written: list[structlog.typing.Processor] = (
        [structlog.dev.ConsoleRenderer()]
        if as_text
        else [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(default=str)]
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *written],
    )
    handler = logging.StreamHandler()
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.log_level)
    logging.captureWarnings(capture=True)


def bind(*, key: str | None = None, **fields: str | None) -> None:
    """Put fields into every line that this task logs from now on; None and empty texts are left out.

    In a program that does not log through structlog nobody would read them.
    """
    known = {name: value for name, value in fields.items() if value}
    if key:
        known["key"] = key[:KEY_DIGITS]
    if (context := _structlog_context()) is not None:
        context.bind_contextvars(**known)


def unbind() -> None:
    """Forget what was bound: the next task is about something else."""
    if (context := _structlog_context()) is not None:
        context.clear_contextvars()


def _structlog_context() -> Any:
    found = sys.modules.get("structlog.contextvars")
    return found if hasattr(found, "clear_contextvars") else None
