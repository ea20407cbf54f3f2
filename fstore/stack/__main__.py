"""The supervisor of a detached stack; ``fstore up --detach`` starts it, people do not."""

from __future__ import annotations

import json
import sys

from fstore.stack.daemon import serve
from fstore.stack.plan import Plan

if __name__ == "__main__":
    sys.exit(serve(Plan.from_dict(json.loads(sys.argv[1]))))
