"""``python ops/bench/all.py``: every benchmark and the page about them, see page/command.py."""

import sys

from page.command import main

if __name__ == "__main__":
    sys.exit(main())
