"""Looks at the health of a Compose project's containers while something else happens to them."""

from __future__ import annotations

import subprocess
import threading
from types import TracebackType

EVERY_S = 2.0


class HealthWatch:
    """Notes every container of a project that was ever "unhealthy" while the block ran."""

    def __init__(self, project: str) -> None:
        self._command = [
            "docker", "ps", "--filter", f"label=com.docker.compose.project={project}", "--filter", "health=unhealthy",
            "--format", "{{.Names}}",
        ]  # fmt: skip
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self.unhealthy: set[str] = set()
        self.looks = 0

    def __enter__(self) -> HealthWatch:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join(timeout=30)

    def _look(self) -> None:
        while not self._ended.wait(EVERY_S):
            done = subprocess.run(self._command, capture_output=True, text=True, timeout=30, check=False)
            self.unhealthy.update(done.stdout.split())
            self.looks += done.returncode == 0
