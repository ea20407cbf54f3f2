"""A fork waits for modules that another thread is loading: in the child nobody would finish that."""

from __future__ import annotations

import subprocess
import sys

FORKS = """
import os, threading, time
from fstore.runtime import fork_safety

began, ended = threading.Event(), []

def load():
    with fork_safety.loading():
        began.set()
        time.sleep(0.3)
        ended.append(True)

thread = threading.Thread(target=load)
thread.start()
began.wait()
child = os.fork()
if child == 0:
    with fork_safety.loading():  # the child's own lock is free
        os._exit(0 if ended else 3)
_, status = os.waitpid(child, 0)
thread.join()
second = os.fork()  # the parent's is free again too
if second == 0:
    os._exit(0)
os.waitpid(second, 0)
print(os.waitstatus_to_exitcode(status))
"""


def test_a_fork_waits_until_a_thread_has_loaded_its_modules() -> None:
    """And both sides can load and fork again afterwards."""
    done = subprocess.run([sys.executable, "-c", FORKS], capture_output=True, text=True, timeout=30, check=True)

    assert done.stdout.split() == ["0"]
