"""Which Celery processes a stack runs, as data."""

from __future__ import annotations

import http.client
import re
import secrets
import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fstore.broker import flower_variables
from fstore.errors import ConfigurationError
from fstore.settings import Settings
from fstore.stack.choices import Choices
from fstore.stack.layout import Layout
from fstore.stack.processes import identity
from fstore.stack.processes.children import Child, ChildSpec
from fstore.stack.servers.ports import choose_port, is_free

QUEUES = ("compute", "write", "upkeep")
_READY_LINE = re.compile(r"\bready\.")
_BEAT_LINE = re.compile(r"\bbeat: Starting")


@dataclass(frozen=True, slots=True)
class Plan:
    """What the user asked for; ``cwd`` is the folder of the call, where feature modules are looked for."""

    root: Path
    cwd: Path
    workers: int = 2
    features: tuple[str, ...] = ()
    flower: bool = True
    beat: bool = True
    reload: bool = False

    def as_dict(self) -> dict[str, Any]:
        """Return a form that JSON can carry to another process."""
        return {**asdict(self), "root": str(self.root), "cwd": str(self.cwd)}

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Plan:
        """Build a plan from what ``as_dict`` returned."""
        paths = {"root": Path(raw["root"]), "cwd": Path(raw["cwd"]), "features": tuple(raw["features"])}
        return cls(**{**raw, **paths})


@dataclass(frozen=True, slots=True)
class Flower:
    """Where Flower listens and who may look."""

    port: int
    auth: str
    cookie: str

    @property
    def url(self) -> str:
        """The address with user and password."""
        return f"http://{self.auth}@127.0.0.1:{self.port}/"


def place_flower(settings: Settings, choices: Choices, layout: Layout) -> Flower:
    """Choose Flower's port and password: those of the settings, else those of earlier starts."""
    auth = settings.flower_auth.get_secret_value() if settings.flower_auth else f"fstore:{choices.flower_password}"
    taken = (choices.redis_port or 0,)
    if settings.flower_port:
        if not is_free(settings.flower_port):
            raise ConfigurationError(
                [f"FEATURE_STORE_FLOWER_PORT={settings.flower_port} is in use; free it, or unset it to take a free one"]
            )
        return Flower(settings.flower_port, auth, choices.flower_cookie)
    port = choose_port(f"flower {layout.root}", preferred=choices.flower_port, taken=taken)
    return Flower(port, auth, choices.flower_cookie)


def celery_children(
    plan: Plan, layout: Layout, environment: Mapping[str, str], flower: Flower | None, token: str
) -> tuple[ChildSpec, ...]:
    """List the Celery processes of a plan: a worker for each queue, Beat, and Flower when it has a place."""
    celery = (sys.executable, "-m", "celery")
    concurrency = {"compute": plan.workers, "write": 1, "upkeep": 1}

    def spec(name: str, argv: tuple[str, ...], is_ready: Callable[[Child], bool], **other: Any) -> ChildSpec:
        mark = f"{token}/{name}"
        given = {**environment, **other.pop("env", {}), identity.TOKEN_VARIABLE: mark}
        return ChildSpec(
            name=name,
            argv=(*celery, *argv),
            env=given,
            # Celery puts its working directory on the module path; this one holds no modules.
            cwd=layout.run,
            log=layout.log(name),
            is_ready=is_ready,
            leftovers=lambda: identity.carrying(mark),
            ready_within=90.0,
            stop_grace=5.5,  # an idle worker takes two to five seconds
            **other,
        )

    children: list[ChildSpec] = []
    argv: tuple[str, ...]
    for queue in QUEUES:
        heartbeat = layout.heartbeat(f"fstore.{queue}")
        # Everything but the others' in the one that computes: features may have queues of their own.
        chosen = ("-X", "fstore.write,fstore.upkeep") if queue == "compute" else ("-Q", f"fstore.{queue}")
        argv = ("-A", "workers.app", "worker", *chosen, "-n", f"{queue}@%h")
        argv += ("-c", str(concurrency[queue]), "-l", "INFO", "--without-gossip", "--without-mingle")
        children.append(
            spec(
                queue,
                argv,
                _worker_is_ready(heartbeat),
                before_start=_remover(heartbeat),
                env={"FEATURE_STORE_HEARTBEAT_FILE": str(heartbeat)},
            )
        )
    if plan.beat:
        argv = ("-A", "beat.app", "beat", "-s", str(layout.schedule), "--pidfile=", "-l", "INFO")
        children.append(spec("beat", argv, _beat_is_ready))
    if flower is not None:
        argv = ("-A", "workers.app", "flower", "--address=127.0.0.1", f"--port={flower.port}")
        children.append(
            spec(
                "flower",
                argv,
                lambda _: _answers(flower.port),
                # Through the environment: everybody can read argument lists.
                env={
                    "FLOWER_BASIC_AUTH": flower.auth,
                    "FLOWER_COOKIE_SECRET": flower.cookie,
                    **flower_variables(),
                },
                stop_signal=signal.SIGTERM,
            )
        )
    return tuple(children)


def new_token() -> str:
    """Return a mark that only the processes of one start carry."""
    return secrets.token_hex(16)


def _worker_is_ready(heartbeat: Path) -> Callable[[Child], bool]:
    """Tell whether a worker consumes: it then touches its heartbeat file.

    Celery's own line says the same when INFO is logged.
    """
    return lambda child: heartbeat.exists() or _READY_LINE.search(child.log_since_start()) is not None


def _beat_is_ready(child: Child) -> bool:
    return _BEAT_LINE.search(child.log_since_start()) is not None


def _remover(path: Path) -> Callable[[], None]:
    return lambda: path.unlink(missing_ok=True)


def _answers(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=1)
    try:
        connection.request("GET", "/healthcheck")
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
