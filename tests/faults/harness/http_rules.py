"""What the object store's fault proxy does to which requests, and what it has seen of each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tests.faults.harness.http_messages import Message

Rewrite = Callable[[Message], None]


@dataclass(eq=False)
class Rule:
    """What is done to requests of a method (empty: any) whose target holds ``part``, ``times`` over after ``skip``."""

    method: str = ""
    part: str = ""
    times: int = 1_000_000
    skip: int = 0
    answer: Message | None = None
    """Is answered without asking the server."""
    rewrite_request: Rewrite | None = None
    rewrite_answer: Rewrite | None = None
    lose_answer: bool = False
    """The server does it, the client sees a reset instead of the answer."""
    cut_after: int | None = None
    """So many bytes of the body arrive, then the connection ends."""
    cut_request_after: int | None = None
    """So many bytes of the request's body reach the server, then both connections end."""
    reset: bool = True
    """Whether a cut is a reset, or a clean end."""
    bytes_per_s: float = 0
    silent: bool = False
    """Nothing ever comes back, and the server is not asked."""
    wait_s: float = 0
    """The answer comes so much later."""
    before: Callable[[], None] | None = None
    """Called when the request has come, before the server is asked."""
    after: Callable[[], None] | None = None
    """Called when the server has answered, before the client hears of it."""
    happened: int = 0

    def fits(self, request: Message) -> bool:
        """Tell whether this rule is for a request, and count it."""
        if self.method not in ("", request.method) or self.part not in request.target or self.happened >= self.times:
            return False
        if self.skip:
            self.skip -= 1
            return False
        self.happened += 1
        return True


@dataclass
class Seen:
    """A request that came: what was asked, what the client got (0: nothing), and the bytes of both bodies."""

    method: str
    target: str
    headers: list[tuple[str, str]]
    status: int = 0
    sent: int = 0
    received: int = 0

    def header(self, name: str) -> str:
        """Return a header of the request, empty when it is not there."""
        return Message("", self.headers).header(name)
