"""What travels through the broker: small, validated JSON; never frames, never code."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fstore.broker.tasks import OWN_QUEUE
from fstore.errors import InvalidRequest
from fstore.increments import Assignment
from fstore.model import Claim, ComputedFacts
from fstore.records import flat, flat_names, unflat

MAX_BYTES = 256 * 1024
MAX_REQUESTS = 1000
CHUNK_WORTH_S = 1.0
MOST = 64
MOST_BYTES = 512 * 1024
OVERHEAD_S = 0.005  # what a computation costs beside itself: reading, writing, publishing
UNKNOWN_S = 0.25  # taken for a feature that nobody has computed yet
ENVELOPE_BYTES = 1024  # what a request holds beside its config
MOST_PARTITIONS = 366
NAME_BYTES = 32

M = TypeVar("M", bound=BaseModel)

_WIRE_NAMES = {"config": "canonical_config"}
_HEX = r"^[0-9a-f]{64}$"
_Short = Annotated[str, Field(max_length=256, pattern=r"^[ -~]*$")]


class RawReference(BaseModel):
    """Where a worker finds raw data.

    They are staged below the store's root, a Parquet file or folder, or nowhere: only the caller has them.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["staged", "parquet", "caller"]
    path: str = Field(min_length=1, max_length=4096)
    # Which one is meant, of an object that has versions.
    version: Annotated[str | None, Field(min_length=1, max_length=1024, pattern=r"^[!-~]+$")] = None


class SegmentReference(BaseModel):
    """Which partitions of a feature that declares them are asked for.

    See ``fstore.increments.Assignment``. A worker of a version that knows none refuses the message unread, and
    whoever waits sends it again.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    declared: str = Field(max_length=2048)
    period: str = Field(min_length=1, max_length=64)
    first: int = Field(ge=0)
    rows: list[int] = Field(max_length=64 * 1024)
    at: int = Field(ge=0)
    names: str = Field(max_length=32 * 1024)
    low: list[int] = Field(max_length=MOST_PARTITIONS)
    high: list[int] = Field(max_length=MOST_PARTITIONS)
    numerics: str | None = Field(None, min_length=1, max_length=4096)

    @classmethod
    def of(cls, assigned: Assignment) -> SegmentReference:
        """Write an assignment down."""
        known: dict[str, Any] = {name: list(getattr(assigned, name)) for name in ("rows", "low", "high")}
        known["names"] = base64.b64encode(b"".join(assigned.names)).decode()
        plain = {name: getattr(assigned, name) for name in ("declared", "period", "first", "at")}
        pinned = {"numerics": assigned.numerics} if assigned.numerics else {}
        return cls.model_validate({**plain, **known, **pinned})

    def assignment(self) -> Assignment:
        """Read it again; raises ``InvalidRequest`` for one that does not hang together."""
        try:
            names = base64.b64decode(self.names, validate=True)
        except (binascii.Error, ValueError) as error:
            raise InvalidRequest("segment.names", f"is not base64: {error}") from error
        if len(names) % NAME_BYTES:
            raise InvalidRequest("segment.names", f"holds no whole names of {NAME_BYTES} bytes")
        return Assignment(
            declared=self.declared,
            period=self.period,
            first=self.first,
            rows=tuple(self.rows),
            at=self.at,
            names=tuple(names[at : at + NAME_BYTES] for at in range(0, len(names), NAME_BYTES)),
            low=tuple(self.low),
            high=tuple(self.high),
            numerics=self.numerics or "",
        )


class ComputeRequest(BaseModel):
    """One computation as asked for on the wire.

    A plain Celery client gives symbol, raw_data (a path), config and feature; the
    library adds what it already knows, and the worker checks it against what it
    finds.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal[1] = 1
    symbol: str = Field(min_length=1, max_length=256)
    feature: str = Field(min_length=3, max_length=512)
    config: dict[str, Any] = Field(default_factory=dict)
    raw_data: RawReference
    feature_version: str | None = Field(None, max_length=256)
    key: str | None = Field(None, pattern=_HEX)
    fingerprint: str | None = Field(None, max_length=128)
    hash_method: Literal["full", "footer", "tail"] | None = None
    canonical_config: str | None = Field(None, max_length=128 * 1024)
    waits: bool = True  # False: nobody reads the task's return value
    # What the caller would run himself. A plain client runs nothing, and says nothing of it.
    source_digest: Annotated[str | None, Field(max_length=128)] = None
    source_format: Annotated[str | None, Field(max_length=64)] = None
    source_time: Annotated[float | None, Field(ge=0, le=1e11)] = (
        None  # of the file, in seconds since 1970; only ever shown
    )
    input: Literal["pandas", "arrow", "dataset"] | None = None
    on_source_change: Literal["refuse", "warn"] | None = None
    # Of the feature's declaration, for whoever sends the job again without knowing the feature.
    queue: Annotated[str | None, Field(pattern=f"^{OWN_QUEUE}$")] = None
    time_limit_s: Annotated[float | None, Field(gt=0, le=1e7)] = None
    segment: SegmentReference | None = None

    @property
    def known_key(self) -> str:
        """The key; only a request that was planned, or that the library made, has one."""
        if self.key is None:
            raise InvalidRequest("key", "is not known before the request was planned")
        return self.key

    def wire(self) -> dict[str, Any]:
        """Return the JSON form, without what is unset."""
        return self.model_dump(mode="json", exclude_none=True)


class PublishRequest(BaseModel):
    """A result computed outside a worker, staged for a worker to publish under the caller's claim."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal[1] = 1
    key: str = Field(pattern=_HEX)
    attempt: int = Field(ge=1)
    owner: str = Field(min_length=1, max_length=512)
    symbol: str = Field(min_length=1, max_length=256)
    feature: str = Field(min_length=3, max_length=512)
    feature_version: str = Field(max_length=256)
    source_digest: str = Field(max_length=128)
    canonical_config: str = Field(max_length=128 * 1024)
    fingerprint: str = Field(max_length=128)
    hash_method: Literal["full", "footer", "tail"]
    staged_path: str = Field(min_length=1, max_length=4096)
    staged_digest: str | None = Field(None, pattern=_HEX)  # of the bytes that the caller read back and compared
    compute_seconds: float = Field(ge=0)
    library_versions: dict[_Short, _Short] | None = Field(None, max_length=1000)  # those of whoever computed

    @classmethod
    def of(cls, facts: ComputedFacts, claim: Claim, *, staged_path: str, staged_digest: str) -> PublishRequest:
        """Return the message that offers a staged result.

        Every field of the facts has one here, with its limit.
        """
        known = {_WIRE_NAMES.get(name, name): value for name, value in flat(facts).items() if name != "source"}
        where = {"staged_path": staged_path, "staged_digest": staged_digest}
        return cls.model_validate({**known, **where, "attempt": claim.attempt, "owner": claim.owner})

    @property
    def claim(self) -> Claim:
        """The claim under which the result was computed."""
        return Claim(self.key, self.attempt, self.owner)

    def facts(self) -> ComputedFacts:
        """Return what its computer knows of the result; of another version, perhaps without the libraries."""
        known = {
            name: getattr(self, _WIRE_NAMES.get(name, name)) for name in flat_names(ComputedFacts) if name != "source"
        }
        return unflat(ComputedFacts, {**known, "source": {"kind": "staged", "path": self.staged_path}})

    def wire(self) -> dict[str, Any]:
        """Return the JSON form."""
        return self.model_dump(mode="json")


def parse_compute(message: object) -> ComputeRequest:
    """Check a compute message; raises ``InvalidRequest`` that names the field."""
    if isinstance(message, Mapping) and isinstance(message.get("raw_data"), str):
        message = {**message, "raw_data": {"kind": "parquet", "path": message["raw_data"]}}
    return _parse(ComputeRequest, message)


def parse_compute_many(messages: object) -> list[ComputeRequest]:
    """Check a list of compute messages, at most 1,000.

    Raises ``InvalidRequest`` that names place and field.
    """
    if not isinstance(messages, list) or not 1 <= len(messages) <= MAX_REQUESTS:
        raise InvalidRequest("requests", f"expected a list of 1 to {MAX_REQUESTS} requests")
    parsed = []
    for position, message in enumerate(messages):
        try:
            parsed.append(parse_compute(message))
        except InvalidRequest as error:
            raise InvalidRequest(f"requests.{position}.{error.field}", error.reason) from error
    return parsed


def parse_publish(message: object) -> PublishRequest:
    """Check a publish message; raises ``InvalidRequest`` that names the field."""
    return _parse(PublishRequest, message)


def in_chunks(requests: Sequence[ComputeRequest], *, per_item_s: float) -> Iterator[list[ComputeRequest]]:
    """Split requests into chunks worth about a second, none above 64.

    Those that share raw data stand together. ``per_item_s`` is what one computation is expected to take. A chunk is
    computed by one worker process: long computations travel alone, so that all workers share them.
    """
    most = max(1, min(MOST, int(CHUNK_WORTH_S / (per_item_s + OVERHEAD_S))))
    chunk: list[ComputeRequest] = []
    size = 0
    for request in sorted(requests, key=_place_of):
        weight = ENVELOPE_BYTES + len(request.canonical_config or "")
        if request.segment is not None:
            weight += len(request.segment.names) + 10 * len(request.segment.rows)
        if chunk and (len(chunk) == most or size + weight > MOST_BYTES):
            yield chunk
            chunk, size = [], 0
        chunk.append(request)
        size += weight
    if chunk:
        yield chunk


def _place_of(request: ComputeRequest) -> tuple[str, str]:
    """Order by what is read: of staged data that share a file, the part behind the digest names the file."""
    path = request.raw_data.path
    return path.rpartition("/")[2].partition(".")[2], path


def claim_in(message: object) -> Claim | None:
    """Return the claim that a publish message names, however little else of it is understood."""
    if not isinstance(message, Mapping):
        return None
    match message.get("key"), message.get("attempt"), message.get("owner"):
        case str() as key, int() as attempt, str() as owner:
            return Claim(key, attempt, owner)
    return None


def _parse(kind: type[M], message: object) -> M:
    if not isinstance(message, Mapping):
        raise InvalidRequest("request", f"expected a JSON object, got {type(message).__name__}")
    try:
        size = len(json.dumps(message))
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidRequest("request", f"is not JSON: {error}") from error
    if size > MAX_BYTES:
        raise InvalidRequest("request", f"has {size} bytes, at most {MAX_BYTES} are taken; raw data travel by path")
    try:
        return kind.model_validate(message)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise InvalidRequest(".".join(map(str, first["loc"])) or "request", first["msg"]) from error
