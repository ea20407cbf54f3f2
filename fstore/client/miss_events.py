"""What may happen while requests that missed are waited for, and what can be done.

Events go into ``SingleFlight``, actions come out of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fstore.client.enqueue import Enqueued
from fstore.client.request import Answer
from fstore.errors import BrokerUnavailable, ManifestUnavailable, StorageUnavailable
from fstore.model import KeyStatus

# ---------------------------------------------------------------- actions


@dataclass(frozen=True, slots=True)
class Look:
    """Ask the manifest and the jobs about keys."""

    keys: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Register:
    """Try to lead: dedup lock, staged raw data, job row, message.

    ``unseen`` ones are known to have had no entry a moment ago; what does not become
    this call's own is looked at afterwards, together with ``then_look``.
    """

    keys: tuple[str, ...]
    unseen: bool = False
    then_look: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Forget:
    """Drop the note of a failure that is not this caller's.

    The one left under ``owner``, or whatever there is.
    """

    keys: tuple[str, ...]
    owner: str | None = None


@dataclass(frozen=True, slots=True)
class Resend:
    """Bury what ended its workers too often, and send again what was lost.

    On its way to a worker, or with one that died.
    """

    keys: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ComputeHere:
    """Compute in this process under the job's lease and publish.

    ``cause`` says why no worker can, None that none could ever.
    """

    keys: tuple[str, ...]
    cause: BrokerUnavailable | None = None


@dataclass(frozen=True, slots=True)
class ComputeUnstored:
    """Compute in this process and keep nothing; counted as ``mode``."""

    keys: tuple[str, ...]
    mode: str
    why: str


@dataclass(frozen=True, slots=True)
class Give:
    """Hand the caller an answer; its key is done with."""

    answer: Answer


Action = Look | Register | Forget | Resend | ComputeHere | ComputeUnstored | Give
WITHOUT_POSTGRES = (ComputeUnstored, Give)  # what is still to be done when Postgres was just found away


# ----------------------------------------------------------------- events


@dataclass(frozen=True, slots=True)
class Admitted:
    """Keys were opened; ``alone`` are those that nobody else in this process waits for."""

    keys: tuple[str, ...]
    alone: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Due:
    """A notification came for these keys, or the clock said that it is time to look."""

    keys: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Viewed:
    """What manifest and jobs say of keys."""

    views: Mapping[str, KeyStatus]


@dataclass(frozen=True, slots=True)
class Registered:
    """An attempt to lead came to an end."""

    action: Register
    outcome: Enqueued


@dataclass(frozen=True, slots=True)
class Computed:
    """A computation in this process came to an end; without an answer somebody else holds the claim."""

    key: str
    answer: Answer | None


@dataclass(frozen=True, slots=True)
class ProcessDiffers:
    """This process set what a worker has not, so what it would compute is not what the key stands for."""

    key: str
    settings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RedisAway:
    """Redis could not be reached during an action; ``keys`` are those that no worker hears of."""

    action: Action
    error: BrokerUnavailable
    keys: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PostgresAway:
    """Postgres could not be reached during an action."""

    action: Action
    error: ManifestUnavailable


@dataclass(frozen=True, slots=True)
class FolderAway:
    """The store's folder could not be read or written for these keys."""

    keys: tuple[str, ...]
    error: StorageUnavailable


@dataclass(frozen=True, slots=True)
class Done:
    """An action came to an end that has no result."""


@dataclass(frozen=True, slots=True)
class DeadlinePassed:
    """The caller's time is up."""


Event = (
    Admitted
    | Due
    | Viewed
    | Registered
    | Computed
    | ProcessDiffers
    | RedisAway
    | PostgresAway
    | FolderAway
    | Done
    | DeadlinePassed
)
