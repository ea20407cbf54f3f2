"""When upkeep runs: the two schedules of the settings, as Celery reads them.

Not in the settings themselves: a trainer that only asks for features need not load
Celery's scheduler to be told about a schedule that Beat alone follows.
"""

from __future__ import annotations

from dataclasses import dataclass

from celery.schedules import ParseException, crontab

from fstore.errors import ConfigurationError
from fstore.settings import Settings


@dataclass(frozen=True, slots=True)
class UpkeepSchedules:
    """When garbage is collected and when entries are re-read."""

    gc: crontab
    integrity: crontab


def read_schedules(settings: Settings) -> UpkeepSchedules:
    """Read both schedules, in force or not.

    Raises ``ConfigurationError`` that names each setting Celery cannot follow.
    """
    faults: list[str] = []
    gc, integrity = (_read(settings, name, faults) for name in ("gc_schedule", "integrity_schedule"))
    if gc is None or integrity is None:
        raise ConfigurationError(faults)
    return UpkeepSchedules(gc, integrity)


def _read(settings: Settings, name: str, faults: list[str]) -> crontab | None:
    text = getattr(settings, name)
    try:
        return crontab.from_string(text)
    except (ValueError, ParseException) as exc:
        faults.append(
            f"{name} ({settings.origins[name]}): Celery cannot follow {text!r} ({str(exc).rstrip('.')}); "
            "expected minute, hour, day of month, month and weekday, for example '0 2 * * *' or '*/15 8-17 * * mon-fri'"
        )
        return None
