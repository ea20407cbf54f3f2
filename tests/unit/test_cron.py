"""Schedules: what upkeep accepts."""

from __future__ import annotations

import pytest

from fstore.settings.cron import schedule_fault


@pytest.mark.parametrize(
    "text", ["0 2 * * *", "*/5 * * * *", "0,30 8-17 1 */3 mon-fri", "0-30/10 0 1-15/2 1,12 SUN", "30 * * * 0"]
)
def test_usual_schedules_pass(text: str):
    """Numbers, lists, ranges, steps and weekday names are understood."""
    assert schedule_fault(text) is None


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "five fields"),
        ("0 2 * *", "found 4"),
        ("60 2 * * *", "minute '60'"),
        ("0 24 * * *", "hour '24'"),
        ("0 0 0 * *", "day of month '0'"),
        ("0 0 1 13 *", "month '13'"),
        ("0 0 * * 7", "day of week '7'"),
        ("0 0 * mon *", "month 'mon'"),
        ("*/0 * * * *", "minute '*/0'"),
        ("5/10 * * * *", "minute '5/10'"),
        ("30-10 * * * *", "minute '30-10'"),
        ("1,,2 * * * *", "minute ''"),
        ("@daily * * * *", "minute '@daily'"),
    ],
)
def test_faulty_field_is_named(text: str, part: str):
    """The first field out of its range is named with its text."""
    assert part in (schedule_fault(text) or "")


def test_celery_understands_what_passes():
    """Every accepted form parses in Celery's own schedule too."""
    from celery.schedules import crontab

    minute, hour, day_of_month, month, day_of_week = ["0-30/10", "0,12", "1-15/2", "*/3", "mon-fri"]
    schedule = crontab(
        minute=minute, hour=hour, day_of_month=day_of_month, month_of_year=month, day_of_week=day_of_week
    )

    assert schedule.day_of_week == {1, 2, 3, 4, 5}
