"""Schedules: what upkeep accepts, and who says what is wrong with one."""

from __future__ import annotations

import pytest

from beat.schedule import schedule
from fstore.broker.schedules import read_schedules
from fstore.cli.doctor.local_checks import Severity, check_settings
from fstore.errors import ConfigurationError
from fstore.settings.loading import gather_settings


def faults_of(**given: str) -> tuple[str, ...]:
    """Load schedules and read them, as Beat does, and return the faults that either names."""
    with pytest.raises(ConfigurationError) as caught:
        read_schedules(gather_settings(given, environ={}))
    return tuple(caught.value.faults)


@pytest.mark.parametrize(
    ("text", "minutes", "weekdays"),
    [
        ("0 2 * * *", {0}, set(range(7))),
        ("*/20 * * * *", {0, 20, 40}, set(range(7))),
        ("0,30 8-17 1 */3 mon-fri", {0, 30}, {1, 2, 3, 4, 5}),
        ("0-30/10 0 1-15/2 1,12 SUN", {0, 10, 20, 30}, {0}),
        ("30 * * * 0", {30}, {0}),
        ("00 02 * * Mon-Fri/2", {0}, {1, 3, 5}),
        (" 5   2 * *\t* ", {5}, set(range(7))),
    ],
)
def test_usual_schedules_mean_what_cron_means(text: str, minutes: set[int], weekdays: set[int]):
    """Numbers, lists, ranges, steps and weekday names are understood, however many blanks stand between fields."""
    found = read_schedules(gather_settings({"gc_schedule": text}, environ={})).gc

    assert (found.minute, found.day_of_week) == (minutes, weekdays)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "five fields"),
        ("0 2 * *", "found 4"),
        ("@daily", "found 1"),
        ("60 2 * * *", "60 > 59"),
        ("0 24 * * *", "24 > 23"),
        ("0 0 0 * *", "0 < 1"),
        ("0 0 1 13 *", "13 > 12"),
        ("0 0 * * 7", "7 > 6"),
        ("0 0 * mon *", "only weekdays"),
        ("*/0 * * * *", "zero"),
        ("5/10 * * * *", "5/10"),
        ("1,,2 * * * *", "empty part"),
        ("@daily * * * *", "only weekdays"),
        ("0 2 30 2 *", "never occurs"),
        ("0 2 * * someday", "someday"),
    ],
)
def test_faulty_schedule_is_refused_by_the_name_of_its_setting(text: str, part: str):
    """What is no schedule is refused when settings load; what Celery cannot follow, by whoever follows it."""
    (fault,) = faults_of(integrity_schedule=text)

    assert fault.startswith("integrity_schedule (argument integrity_schedule): ")
    assert part in fault


def test_both_schedules_are_judged_at_once():
    """Who corrects one learns of the other too."""
    first, second = faults_of(gc_schedule="61 2 * * *", integrity_schedule="0 25 * * *")

    assert first.startswith("gc_schedule ")
    assert second.startswith("integrity_schedule ")


def test_beat_refuses_a_schedule_that_celery_cannot_follow():
    """Beat ends with the name of the setting instead of never collecting garbage."""
    chosen = gather_settings({"gc_schedule": "61 2 * * *", "redis_url": "redis://x"}, environ={})

    with pytest.raises(ConfigurationError, match="gc_schedule"):
        schedule(chosen)


def test_doctor_names_a_schedule_that_beat_will_refuse():
    """The doctor says so before Beat does."""
    good, bad = (gather_settings({"gc_schedule": text}, environ={}) for text in ("1 2 * * *", "61 2 * * *"))

    assert [f.level for f in check_settings(good) if f.check == "schedules"] == [Severity.OK]
    (fault,) = [f for f in check_settings(bad) if f.check == "schedules"]
    assert fault.level is Severity.FAULT
    assert "gc_schedule" in fault.detail
