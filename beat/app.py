"""The Celery application of Beat: ``celery -A beat.app beat``. It sends by name and imports no task."""

from __future__ import annotations

from typing import Any

from celery import Celery
from celery.signals import setup_logging

from beat.schedule import schedule
from fstore.bootstrap import load_settings
from fstore.broker import celery_config
from fstore.runtime.logs import configure_logging

settings = load_settings()
app = Celery("fstore-beat")
app.conf.update(celery_config(settings))
app.conf.update(beat_schedule=schedule(settings), task_ignore_result=True)
app.conf.update(beat_scheduler="beat.scheduling:WatchedScheduler", beat_max_loop_interval=10)
celery_app = app


@setup_logging.connect
def _set_up_logging(**_: Any) -> None:
    configure_logging(settings)
