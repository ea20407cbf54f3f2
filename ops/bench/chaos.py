"""``python ops/bench/chaos.py``: random faults by a seed, see chaos/run.py (a folder goes before a file of its name)."""

import sys

from chaos.run import main

if __name__ == "__main__":
    sys.exit(main())
