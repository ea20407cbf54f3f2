"""Start a stack, keep it running, stop it."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any

from fstore.broker import read_schedules
from fstore.errors import ConfigurationError
from fstore.settings import Settings, gather_settings
from fstore.stack import leftovers
from fstore.stack.changes import ChangeMaker
from fstore.stack.choices import save_choices
from fstore.stack.environment import celery_environment, settings_on, stack_settings
from fstore.stack.layout import Layout
from fstore.stack.modules import check_modules
from fstore.stack.orders import Change
from fstore.stack.plan import QUEUES, Flower, Plan, celery_children, new_token, place_flower
from fstore.stack.processes import logs
from fstore.stack.processes.children import Cancelled, Child, ChildSpec
from fstore.stack.processes.watchdog import Watchdog
from fstore.stack.servers.embedded import EmbeddedServers
from fstore.stack_state import READY, STARTING, STOPPING, StackState, birth_of, remove_state, write_state

TICK_SECONDS = 0.1
LOGS_EVERY_SECONDS = 10.0
# With the children's own grace period the whole stack is gone in less than ten.
SERVERS_GRACE_SECONDS = 3.0


class Supervisor:
    """Runs one stack until it is told to stop.

    ``prepare`` brings database and folder into being between the servers and the
    workers; ``extra`` replaces the Celery processes, for stacks of other make.
    ``on_ready`` is called in the supervising thread and has to return soon.
    """

    def __init__(
        self,
        plan: Plan,
        *,
        prepare: Callable[[Settings], object],
        extra: Callable[[StackState], Sequence[ChildSpec]] | None = None,
        on_ready: Callable[[StackState], None] | None = None,
        say: Callable[[str], None] | None = None,
    ) -> None:
        self.plan = plan
        self._prepare = prepare
        self._extra = extra
        self._on_ready = on_ready or (lambda _: None)
        self._say = say or (lambda _: None)
        self._watchdog = Watchdog(self._say)
        self._servers: EmbeddedServers | None = None
        self._flower: Flower | None = None
        self._state: StackState | None = None
        self._logs_looked_at = time.monotonic()
        self._changes = ChangeMaker(
            Layout(plan.root),
            self._watchdog,
            trial_of=self._trial_of,
            change=self._change,
            say=self._say,
            reload=plan.reload,
        )
        self._folders: list[str] = []  # where features that were added later are found
        # A plain number: locks of an Event must not be taken inside a signal handler.
        self._stops_asked = 0

    def stop(self) -> None:
        """Ask the stack to stop; asked twice, it stops without grace."""
        self._stops_asked += 1

    def run(self) -> StackState:
        """Start everything, supervise until stopped, stop everything; return the last state.

        Raises ``ConfigurationError`` with the end of the log of a child that cannot be kept running.
        """
        restore_signals = self._take_signals()
        try:
            self._start_servers()
            self._start_children()
            while not self._stops_asked:
                self._look(starting=False)
                if self._changes.look():
                    self._write()
                time.sleep(TICK_SECONDS)
        except Cancelled:
            self._say("stopped before everything was ready")
        finally:
            self._stop_all()
            restore_signals()
        return self._now()

    def _start_servers(self) -> None:
        settings = gather_settings(_arguments(self.plan))
        read_schedules(settings)  # or Beat would refuse them once all else runs, again and again
        servers = self._servers = EmbeddedServers(
            self.plan.root, settings=settings, say=self._say, cancelled=lambda: self._stops_asked > 0
        )
        servers.claim()
        for name in leftovers.sweep(servers.layout):
            self._say(f"ended {name}, left behind by a stack that was killed")
        self._state = StackState(
            root=str(self.plan.root),
            host=socket.gethostname(),
            pid=os.getpid(),
            birth=birth_of(os.getpid()) or "",
            token=new_token(),
            phase=STARTING,
            started_ts=datetime.now(UTC).isoformat(timespec="seconds"),
            workers=self.plan.workers,
            features=settings.feature_modules,
        )
        write_state(self._state)
        self._say("starting Postgres and Redis")
        servers.prepare()
        self._flower = self._place_flower(settings, servers)
        servers.start()
        self._watchdog.add(servers.postgres)
        self._watchdog.add(servers.redis)
        self._write()

    def _start_children(self) -> None:
        if self._servers is None or self._state is None:
            return
        servers, state = self._servers, self._state
        settings, given = self._celery_settings(self.plan)
        self._state = state = self._with_settings(state, settings, given)
        self._check_not_stopped()
        if self._extra is None and (self.plan.reload or settings.origins["feature_modules"] != "default"):
            files = check_modules(settings.feature_modules, given, cwd=servers.layout.run)
            self._changes.follow(files)
        self._prepare(settings)
        specs = self._specs(state, given)
        self._say(f"starting {', '.join(spec.name for spec in specs)}")
        for spec in specs:
            child = Child(spec)
            self._watchdog.add(child)
            child.start()
        self._write()
        while not self._watchdog.all_ready():
            self._check_not_stopped()
            self._look(starting=True)
            time.sleep(TICK_SECONDS / 2)
        self._state = replace(state, phase=READY)
        self._write()
        self._say("ready")
        self._on_ready(self._now())

    def _specs(self, state: StackState, given: Mapping[str, str]) -> Sequence[ChildSpec]:
        if self._extra is not None:
            return self._extra(state)
        layout = Layout(self.plan.root)
        return celery_children(self.plan, layout, given, self._flower, state.token)

    def _celery_settings(self, plan: Plan) -> tuple[Settings, dict[str, str]]:
        """Return the settings of the Celery processes of a plan, and their environment."""
        if self._servers is None or self._state is None:
            raise Cancelled
        urls = {"postgres_url": self._servers.postgres_url, "redis_url": self._servers.redis_url}
        own_key = {"signing_key": self._servers.choices.signing_key}
        settings = gather_settings({**_arguments(plan), **urls}, stack=own_key)
        given = celery_environment(settings, token=self._state.token, cwd=plan.cwd)
        return settings, given | {"PYTHONPATH": os.pathsep.join([given["PYTHONPATH"], *self._folders])}

    def _with_settings(self, state: StackState, settings: Settings, given: Mapping[str, str]) -> StackState:
        if self._servers is None:
            raise Cancelled
        return replace(
            state,
            postgres_url=self._servers.postgres_url,
            redis_url=self._servers.redis_url,
            flower_url=self._flower.url if self._flower else "",
            features=settings.feature_modules,
            settings=stack_settings(given),
        )

    def _trial_of(self, change: Change) -> Callable[[], tuple[Path, ...]]:
        """Return what has to succeed before a change is made: importing what is to be restarted."""
        if change.cwd and change.cwd not in (str(self.plan.cwd), *self._folders):
            self._folders.append(change.cwd)
        if self._extra is not None or not set(change.restart) & set(QUEUES):
            return tuple
        settings, given = self._celery_settings(_changed(self.plan, change))
        return lambda: check_modules(settings.feature_modules, given, cwd=Layout(self.plan.root).run)

    def _change(self, change: Change) -> Sequence[ChildSpec]:
        """Make a change and return the children as they are to be from now on."""
        plan = _changed(self.plan, change)
        settings, given = self._celery_settings(plan)
        self.plan = plan
        self._state = self._with_settings(self._now(), settings, given)
        return self._specs(self._state, given)

    def _look(self, *, starting: bool) -> None:
        if self._watchdog.look(starting=starting):
            self._write()
        if self._servers is not None and time.monotonic() - self._logs_looked_at > LOGS_EVERY_SECONDS:
            self._logs_looked_at = time.monotonic()
            for path in self._servers.layout.logs.glob("*.log"):
                logs.keep_bounded(path)

    def _stop_all(self) -> None:
        """Stop workers, then servers; what does not go in its time is killed."""
        if self._servers is None:
            return
        if self._state is not None:
            self._state = replace(self._state, phase=STOPPING)
            self._write()
            self._say("stopping")
        workers = [child for child in self._watchdog.children if child not in self._servers.children.values()]
        for child in workers:
            child.ask_to_stop()
        deadline = time.monotonic() + max((child.spec.stop_grace for child in workers), default=0)
        while time.monotonic() < deadline and self._stops_asked < 2 and not all(c.has_ended() for c in workers):
            time.sleep(0.02)
        for child in workers:
            if not child.finish(within=0):
                self._say(f"{child.spec.name} did not stop in time and was killed")
        # The lock goes with the servers, so the state file has to go before them.
        if self._state is not None:
            remove_state(self.plan.root)
        self._servers.close(within=0.0 if self._stops_asked > 1 else SERVERS_GRACE_SECONDS)
        if self._state is not None:
            self._say("stopped")

    def _place_flower(self, settings: Settings, servers: EmbeddedServers) -> Flower | None:
        if not self.plan.flower:
            return None
        flower = place_flower(settings, servers.choices, servers.layout)
        save_choices(servers.layout.choices, replace(servers.choices, flower_port=flower.port))
        return flower

    def _now(self) -> StackState:
        if self._state is None:
            raise ConfigurationError([f"the stack on {self.plan.root} was stopped before it began"])
        return self._state.with_children(tuple(child.state() for child in self._watchdog.children))

    def _write(self) -> None:
        try:
            write_state(self._now())
        except OSError as exc:
            # A full disk must not end the processes that may free it again.
            self._say(f"the state file could not be written: {exc}")

    def _check_not_stopped(self) -> None:
        if self._stops_asked:
            raise Cancelled

    def _take_signals(self) -> Callable[[], None]:
        if threading.current_thread() is not threading.main_thread():
            return lambda: None

        def on_signal(number: int, frame: FrameType | None) -> None:
            self.stop()

        previous = {s: signal.signal(s, on_signal) for s in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}

        def restore() -> None:
            for number, handler in previous.items():
                signal.signal(number, handler)

        return restore


def _arguments(plan: Plan) -> dict[str, Any]:
    given: dict[str, Any] = {**settings_on(plan.root)}
    if plan.features:
        given["feature_modules"] = tuple(dict.fromkeys((*gather_settings(given).feature_modules, *plan.features)))
    return given


def _changed(plan: Plan, change: Change) -> Plan:
    features = tuple(dict.fromkeys((*plan.features, *change.features)))
    return replace(plan, features=features, reload=plan.reload if change.reload is None else change.reload)
