"""``python -m fstore``: the same as ``fstore``.

For schedules and places where the script is not installed.
"""

from __future__ import annotations

from fstore.cli import main

if __name__ == "__main__":
    main()
