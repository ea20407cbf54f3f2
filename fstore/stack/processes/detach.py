"""Runs a program as nobody's child: ``python -I -S detach.py PROGRAM ARGUMENT...``.

A program of its own so that the fork happens before anything that has threads is
imported. It reports the number of the process that stays, as the supervisor
reports everything else: one JSON object a line.
"""

import os
import sys

if __name__ == "__main__":
    if os.fork():
        os._exit(0)
    os.write(1, b'{"pid": %d}\n' % os.getpid())
    os.execvp(sys.argv[1], sys.argv[1:])  # noqa: S606 - no shell is the point
