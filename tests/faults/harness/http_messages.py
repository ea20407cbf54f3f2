"""HTTP/1.1 as far as an object store and its clients speak it: heads, bodies of a length, bodies in chunks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

PIECE = 1 << 16
_NO_BODY = (204, 304)


@dataclass
class Message:
    """A request or an answer: its first line, its headers as they came, and its body once it was read whole."""

    first: str
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""

    def header(self, name: str) -> str:
        """Return a header, empty when it is not there."""
        return next((value for one, value in self.headers if one.lower() == name.lower()), "")

    def set(self, name: str, value: str) -> None:
        """Give a header one value."""
        self.headers = [one for one in self.headers if one[0].lower() != name.lower()] + [(name, value)]

    def drop(self, name: str) -> None:
        """Take a header away."""
        self.headers = [one for one in self.headers if one[0].lower() != name.lower()]

    @property
    def status(self) -> int:
        """The status of an answer."""
        return int(self.first.split(" ")[1])

    @property
    def method(self) -> str:
        """The method of a request."""
        return self.first.split(" ")[0]

    @property
    def target(self) -> str:
        """Path and query of a request."""
        return self.first.split(" ")[1]

    def head(self) -> bytes:
        """Write the first line and the headers."""
        lines = [self.first, *(f"{name}: {value}" for name, value in self.headers)]
        return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n"


async def read_head(reader: asyncio.StreamReader) -> Message | None:
    """Read a first line and headers; None when the other side is done."""
    try:
        text = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    except (asyncio.IncompleteReadError, OSError):
        return None
    first, *lines = text[:-4].split("\r\n")
    pairs = (line.partition(":") for line in lines)
    return Message(first, [(name, value.strip()) for name, _, value in pairs])


def has_body(answer: Message, method: str) -> bool:
    """Tell whether a body follows an answer's head."""
    return method != "HEAD" and answer.status not in _NO_BODY


async def read_body(reader: asyncio.StreamReader, head: Message, *, until_end: bool = False) -> AsyncIterator[bytes]:
    """Give a body piece by piece, without the frame of its chunks."""
    if "chunked" in head.header("Transfer-Encoding").lower():
        while size := int((await reader.readline()).split(b";")[0] or b"0", 16):
            left = size
            while left:
                piece = await reader.read(min(left, PIECE))
                if not piece:
                    return
                left -= len(piece)
                yield piece
            await reader.readline()
        await reader.readline()
    elif length := head.header("Content-Length"):
        left = int(length)
        while left and (piece := await reader.read(min(left, PIECE))):
            left -= len(piece)
            yield piece
    elif until_end:
        while piece := await reader.read(PIECE):
            yield piece
