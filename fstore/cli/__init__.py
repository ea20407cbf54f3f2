"""The command line: ``fstore --help``."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command that the arguments name and end the process with its exit code."""
    try:
        # Imported late: the demo's trainers live in this package too and need none of the commands.
        from fstore.cli.app import run  # noqa: PLC0415

        code = run(sys.argv[1:])
    except KeyboardInterrupt:  # while modules are imported, or what was said is written
        sys.stderr.write("fstore: interrupted\n")
        code = 130
    sys.exit(code)
