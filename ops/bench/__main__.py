"""``python ops/bench NAME ...`` does what ``python ops/bench/NAME.py ...`` does; without a name, all of them, see page/command.py."""

import runpy
import sys
from pathlib import Path

HERE = Path(__file__).parent
NAMES = sorted(path.stem for path in HERE.glob("*.py") if path != Path(__file__))

if __name__ == "__main__":
    if len(sys.argv) < 2 or sys.argv[1].startswith("-"):
        from page.command import main

        sys.exit(main())
    if sys.argv[1] not in NAMES:
        sys.exit(f"usage: python ops/bench {{{','.join(NAMES)}}} [--help]")
    sys.argv[:] = [str(HERE / f"{sys.argv[1]}.py"), *sys.argv[2:]]
    runpy.run_path(sys.argv[0], run_name="__main__")
