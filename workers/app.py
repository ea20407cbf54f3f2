"""The Celery application of workers and Flower.

``celery -A workers.app worker``, ``celery -A workers.app flower``.
"""

from __future__ import annotations

import logging
from typing import Any

from celery import Celery
from celery.signals import (
    celeryd_init,
    heartbeat_sent,
    setup_logging,
    task_postrun,
    task_prerun,
    worker_before_create_process,
    worker_process_init,
    worker_process_shutdown,
    worker_ready,
)
from celery.states import FAILURE
from kombu import Queue

from fstore.bootstrap import load_settings
from fstore.broker import FLUSH_USAGE, PING, RECONCILE_JOBS, celery_config, compute_queue
from fstore.calling import noted_settings, watch_imports
from fstore.errors import ConfigurationError
from fstore.features import load_feature_modules, own_queues
from fstore.runtime import logs, tracing
from fstore.runtime.logs import configure_logging
from fstore.runtime.probes import touch_probe
from workers import process
from workers.bootsteps import GroupedEvents, LastResort, PromptReplacement, SteadyControl, freeze_once
from workers.progress_events import board
from workers.rejected_messages import note_rejected
from workers.task_class import FstoreTask, request_of

log = logging.getLogger("fstore.worker")

# Three times a minute, or whenever somebody is watched over: in Flower nothing else could be seen between them.
UNSHOWN = (RECONCILE_JOBS, FLUSH_USAGE, PING)

settings = load_settings()
app = Celery("fstore", task_cls=FstoreTask, include=["workers.tasks"])
app.conf.update(celery_config(settings, refused=note_rejected))
app.conf.task_annotations = {name: {"send_events": False} for name in UNSHOWN}
app.steps["worker"].update((LastResort, PromptReplacement))
app.steps["consumer"].update((GroupedEvents, SteadyControl))
celery_app = app


@setup_logging.connect
def _set_up_logging(**_: Any) -> None:
    configure_logging(settings)


@celeryd_init.connect
def _refuse_code_on_the_wire(**_: Any) -> None:
    """Start only if nothing but JSON would be accepted: pickle or yaml on the wire is code execution.

    Celery logs what a signal handler raises and goes on; only the end of the process
    is a refusal.
    """
    dangerous = {"pickle", "yaml", "application/x-python-serialize", "application/x-yaml"}
    accepted = {str(kind) for name in ("accept_content", "result_accept_content") for kind in app.conf[name] or ()}
    if dangerous & accepted or accepted - {"json", "application/json"}:
        fault = f"workers accept JSON only, but Celery is set to accept {sorted(accepted)}; unset CELERY_* variables"
        raise SystemExit(str(ConfigurationError([fault])))


@celeryd_init.connect
def _refuse_what_is_missing(**_: Any) -> None:
    """Start only with every feature module imported; so with exporters.

    A worker without one would refuse each request for it.
    """
    watch_imports()
    try:
        load_feature_modules(settings.feature_modules)
        _know_queues_of_features()
        if settings.trace_exporter is not None:
            tracing.find_exporter(settings.trace_exporter)
    except ConfigurationError as error:
        raise SystemExit(str(error)) from error
    for module, names in noted_settings().items():
        log.info("%s sets %s while it is imported; that holds for its own features alone", module, ", ".join(names))


def _know_queues_of_features() -> None:
    """Let ``-Q`` choose the queues that features have of their own.

    Without it the worker serves these too.
    """
    for name in own_queues():
        app.amqp.queues.select_add(Queue(compute_queue(name)))


@worker_before_create_process.connect
def _share_what_is_loaded(**_: Any) -> None:
    freeze_once()


@worker_process_init.connect
def _open(**_: Any) -> None:
    process.open_in_child()


@worker_process_shutdown.connect
def _close(**_: Any) -> None:
    process.close()


@worker_ready.connect
def _ready(**_: Any) -> None:
    touch_probe(settings.heartbeat_file)


@heartbeat_sent.connect
def _beat(**_: Any) -> None:
    touch_probe(settings.heartbeat_file)


@task_prerun.connect
def _name_the_work(task_id: str, task: Any, args: Any = None, kwargs: Any = None, **_: Any) -> None:
    """Let every line that is logged during a task say what it is about."""
    request = request_of(args, kwargs) or {}
    about = {name: str(request.get(name) or "") for name in ("symbol", "feature", "key")}
    logs.unbind()
    tracing.begin_task(task_id, task.name, task.request, **about)
    logs.bind(task=task.name, task_id=task_id, trace_id=tracing.trace_id(), **about)


@task_postrun.connect
def _forget_the_work(task_id: str, retval: Any = None, state: str | None = None, **_: Any) -> None:
    board.clear()
    error = retval if isinstance(retval, BaseException) and state == FAILURE else None
    answer = retval if isinstance(retval, dict) else {}
    came_to = {name: str(answer[name]) for name in ("key", "status") if name in answer}
    tracing.end_task(task_id, error, **came_to)
    logs.unbind()
