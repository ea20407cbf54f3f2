"""Becomes a child of the stack.

Takes the account, arranges to die with the parent, then runs the program. Run as ``python -I -S shim.py PARENT
SIGNAL UID GID DROPPED PROGRAM ARGUMENT...``. A program of its own because code between fork and exec may deadlock
when the parent has threads.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main(argv: list[str]) -> None:
    """Change into the program; returns only through an exit."""
    parent, number, uid, gid = (int(word) for word in argv[:4])
    dropped, program = argv[4], argv[5:]
    if uid >= 0:
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)
    if sys.platform == "linux":
        # After the change of account, which would clear it.
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, number, 0, 0, 0)
        if os.getppid() != parent:  # it died before the call above could know
            os.kill(os.getpid(), signal.SIGKILL)
    if dropped:
        os.environ.pop(dropped, None)
    try:
        os.execvp(program[0], program)  # noqa: S606 - no shell is the point
    except OSError as exc:
        sys.exit(f"cannot run {program[0]}: {exc}")


if __name__ == "__main__":
    main(sys.argv[1:])
