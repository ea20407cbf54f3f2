"""A computation that was asked for and not waited for."""

from __future__ import annotations

from typing import Any

from fstore.client.answer import deliver
from fstore.client.request import Question, is_refused_to_another
from fstore.compute.failures import verdict
from fstore.errors import FeatureStoreError
from fstore.postgres.jobs import View
from fstore.resources import Resources
from fstore.results.forms import Returns


class Ticket:
    """What ``submit`` returns: the key, and ways to look at and to wait for its result."""

    def __init__(self, resources: Resources, asked: Question) -> None:
        self._resources = resources
        self._asked = asked

    def __repr__(self) -> str:
        return (
            f"Ticket(key={self.key[:12]!r}, symbol={self._asked.parts.symbol!r}, feature={self._asked.parts.feature!r})"
        )

    @property
    def key(self) -> str:
        """The key of the result."""
        return self._asked.key

    def status(self) -> str:
        """Return ``live`` when the result is there, else the job's state: ``queued``, ``running``, ``failed``, ``dead``, or ``unknown``."""
        view = self._view()
        if view.entry is not None:
            return "live"
        if view.job is None or is_refused_to_another(self._resources, self._asked, view):
            return "unknown"
        return str(view.job.state)

    def done(self) -> bool:
        """Return whether ``result`` would answer at once, with a frame or an error."""
        view = self._view()
        return view.entry is not None or self._failure(view) is not None

    def result(self, timeout: float | None = None, *, returns: Returns = "pandas") -> Any:
        """Wait for the frame at most ``timeout`` seconds (default: the store's request timeout), or raise its error.

        A result that was given up meanwhile is computed again.
        """
        seconds = self._resources.settings.request_timeout_s if timeout is None else timeout
        return deliver(self._resources, self._asked, seconds=seconds).value(returns)

    def exception(self) -> FeatureStoreError | None:
        """Return the error the computation ended with, or None when it has a result or has not ended."""
        return self._failure(self._view())

    def _failure(self, view: View) -> FeatureStoreError | None:
        return None if is_refused_to_another(self._resources, self._asked, view) else verdict(view)

    def _view(self) -> View:
        return self._resources.jobs.look([self.key])[self.key]
