"""What only some operating systems have.

Windows runs trainers and commands, and neither workers nor a local stack.
"""

from __future__ import annotations

import os
import sys

from fstore.errors import ConfigurationError


def require_posix(what: str) -> None:
    """Raise ``ConfigurationError`` where processes do not fork; ``what`` begins the sentence."""
    if not hasattr(os, "fork"):
        raise ConfigurationError(
            [
                f"{what} needs a POSIX system (Linux, or macOS for a local stack) and this is {sys.platform}; run it there, "
                "in WSL 2 or in a container, and give this host its FEATURE_STORE_POSTGRES_URL, FEATURE_STORE_REDIS_URL, "
                "FEATURE_STORE_SIGNING_KEY and FEATURE_STORE_PATH"
            ]
        )
