"""A stack with plain stand-ins for the Celery processes: run as ``python stack_standins.py ROOT [NAME=BEHAVIOUR ...]``.

It prints one JSON object a line: what the supervisor says, ``ready``, ``fault``, ``ended``.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from fstore.errors import FeatureStoreError
from fstore.stack.layout import Layout
from fstore.stack.plan import Plan
from fstore.stack.processes import identity, restarts
from fstore.stack.processes.children import ChildSpec
from fstore.stack.supervisor import Supervisor
from fstore.stack_state import StackState

WAIT = "import time\nwhile True: time.sleep(1)\n"
BEHAVIOURS = {
    "idle": f"print('ready')\n{WAIT}",
    "parent": (
        "import subprocess, sys\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'], start_new_session=True)\n"
        f"print('child', child.pid)\nprint('ready')\n{WAIT}"
    ),
    "stubborn": f"import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint('ready')\n{WAIT}",
    "broken": "print('the reason is here')\nraise SystemExit(3)\n",
    "fleeting": "print('ready')\nimport time\ntime.sleep(0.3)\nraise SystemExit(4)\n",
    "silent": WAIT,
}


def roster(root: Path, behaviours: dict[str, str], state: StackState) -> list[ChildSpec]:
    """List the stand-ins."""
    layout = Layout(root)

    def spec(name: str, behaviour: str) -> ChildSpec:
        mark = f"{state.token}/{name}"
        return ChildSpec(
            name=name,
            argv=(sys.executable, "-u", "-c", BEHAVIOURS[behaviour]),
            env={**os.environ, identity.TOKEN_VARIABLE: mark},
            cwd=layout.run,
            log=layout.log(name),
            is_ready=lambda child: "ready" in child.log_since_start(),
            leftovers=lambda: identity.carrying(mark),
            ready_within=1.0 if behaviour == "silent" else 20.0,
            stop_grace=1.0,
        )

    return [spec(name, behaviour) for name, behaviour in behaviours.items()]


def tell(**message: object) -> None:
    """Print one message for the test that started this process."""
    print(json.dumps(message), flush=True)


def main() -> int:
    """Run a stack until it is stopped."""
    restarts.LIMIT_LATER = 4  # a test need not wait for ten
    root = Path(sys.argv[1]).resolve()
    behaviours = dict(argument.split("=") for argument in sys.argv[2:])
    supervisor = Supervisor(
        Plan(root, Path.cwd(), flower=False),
        prepare=lambda settings: tell(prepared=str(settings.path)),
        extra=lambda state: roster(root, behaviours, state),
        on_ready=lambda state: tell(ready={child.name: child.pid for child in state.children}),
        say=lambda text: tell(say=text),
    )
    try:
        state = supervisor.run()
    except FeatureStoreError as exc:
        tell(fault=str(exc), kind=type(exc).__name__)
        return 1
    tell(ended=state.phase)
    return 0


if __name__ == "__main__":
    sys.exit(main())
