"""What is said to etcd's JSON gateway and what it says: octets are base64, 64-bit numbers are text.

https://etcd.io/docs/v3.4/dev-guide/api_grpc_gateway/ and rpc.proto beside it.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self

import msgspec

encode = msgspec.json.Encoder().encode
DecodeError = msgspec.DecodeError
Sent = dict[str, Any]


@dataclass(frozen=True, slots=True)
class KeyValue:
    """A key as it stands at some revision; of a deleted one only `key` and `mod_revision` say something."""

    key: bytes
    value: bytes
    create_revision: int
    mod_revision: int
    version: int
    lease: int


@dataclass(frozen=True, slots=True)
class Found:
    """What a range has; `revision` is that of the answer, 0 within a transaction."""

    kvs: tuple[KeyValue, ...]
    revision: int
    more: bool
    count: int


@dataclass(frozen=True, slots=True)
class Change:
    """What happened to one key."""

    type: Literal["PUT", "DELETE"]
    kv: KeyValue
    mod_revision: int


@dataclass(frozen=True, slots=True)
class Changes:
    """Whole revisions, in order; `revision` is the last of them."""

    revision: int
    events: tuple[Change, ...]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a transaction came to, and what its Gets have found."""

    succeeded: bool
    revision: int
    found: tuple[Found, ...]


@dataclass(frozen=True, slots=True)
class Compare:
    """A condition of a transaction, on one key or on all of a range."""

    target: Literal["MOD", "VERSION"]
    result: Literal["EQUAL", "GREATER", "LESS"]
    key: bytes
    number: int
    end: bytes | None = None

    @classmethod
    def unchanged(cls, key: bytes, mod_revision: int) -> Self:
        """Hold where a key was put last at this revision."""
        return cls("MOD", "EQUAL", key, mod_revision)

    @classmethod
    def absent(cls, key: bytes) -> Self:
        """Hold where there is no such key."""
        return cls("VERSION", "EQUAL", key, 0)

    @classmethod
    def exists(cls, key: bytes) -> Self:
        """Hold where there is such a key."""
        return cls("VERSION", "GREATER", key, 0)

    @classmethod
    def none_since(cls, key: bytes, end: bytes, revision: int) -> Self:
        """Hold where no key of a range that is there was put after a revision."""
        return cls("MOD", "LESS", key, revision + 1, end)

    def sent(self) -> Sent:
        """Return it as it is sent."""
        number = "mod_revision" if self.target == "MOD" else "version"
        return {"target": self.target, "result": self.result, number: str(self.number)} | between(
            self.key, self.end
        )


@dataclass(frozen=True, slots=True)
class Put:
    """Put a key; with a lease it goes when that ends."""

    key: bytes
    value: bytes
    lease: int = 0

    def sent(self) -> Sent:
        """Return it as it is sent."""
        put = {"key": text(self.key), "value": text(self.value)}
        return {"request_put": put | ({"lease": str(self.lease)} if self.lease else {})}


@dataclass(frozen=True, slots=True)
class Delete:
    """Delete a key, or a range."""

    key: bytes
    end: bytes | None = None

    def sent(self) -> Sent:
        """Return it as it is sent."""
        return {"request_delete_range": between(self.key, self.end)}


@dataclass(frozen=True, slots=True)
class Get:
    """Read a key, or a range."""

    key: bytes
    end: bytes | None = None

    def sent(self) -> Sent:
        """Return it as it is sent."""
        return {"request_range": between(self.key, self.end)}


def text(octets: bytes) -> str:
    """Return octets as they are sent."""
    return base64.b64encode(octets).decode()


def between(key: bytes, end: bytes | None) -> Sent:
    """Return a range as it is sent; without an end it is one key."""
    return {"key": text(key)} | ({} if end is None else {"range_end": text(end)})


class _Header(msgspec.Struct, frozen=True):
    revision: int = 0
    cluster_id: int = 0
    member_id: int = 0


class _Result(msgspec.Struct, frozen=True):
    header: _Header = _Header()


class _Headed(msgspec.Struct, frozen=True):
    """What all answers have; those that are streams have it in their result."""

    header: _Header = _Header()
    result: _Result = _Result()


class _KeyValue(msgspec.Struct):
    key: bytes = b""
    value: bytes = b""
    create_revision: int = 0
    mod_revision: int = 0
    version: int = 0
    lease: int = 0

    def plain(self) -> KeyValue:
        return KeyValue(
            self.key, self.value, self.create_revision, self.mod_revision, self.version, self.lease
        )


class _Range(msgspec.Struct):
    header: _Header = _Header()
    kvs: tuple[_KeyValue, ...] = ()
    more: bool = False
    count: int = 0

    def plain(self) -> Found:
        return Found(tuple(kv.plain() for kv in self.kvs), self.header.revision, self.more, self.count)


class _Response(msgspec.Struct):
    response_range: _Range | None = None


class _Transaction(msgspec.Struct):
    header: _Header
    succeeded: bool = False
    responses: tuple[_Response, ...] = ()


class _Event(msgspec.Struct):
    kv: _KeyValue
    type: Literal["PUT", "DELETE"] = "PUT"


class WatchAnswer(msgspec.Struct):
    """One message of a watch."""

    header: _Header = _Header()
    events: tuple[_Event, ...] = ()
    fragment: bool = False
    """Whether more of these revisions follows."""
    canceled: bool = False
    cancel_reason: str = ""
    compact_revision: int = 0

    def changes(self) -> list[Change]:
        """Return what has happened."""
        return [Change(one.type, one.kv.plain(), one.kv.mod_revision) for one in self.events]


class Failed(msgspec.Struct):
    """An error, with gRPC's code."""

    message: str = ""
    error: Any = None
    code: int = 0


class _Streamed(msgspec.Struct):
    result: WatchAnswer | None = None
    error: Failed | None = None


class _Token(msgspec.Struct):
    token: str


class Lease(msgspec.Struct, frozen=True):
    """A lease, and for how many seconds it lasts from now; 0: it has ended."""

    id: int = msgspec.field(default=0, name="ID")
    seconds: int = msgspec.field(default=0, name="TTL")


class _KeptAlive(msgspec.Struct):
    result: Lease = Lease()


class Status(msgspec.Struct, frozen=True, rename={"size": "dbSize"}):
    """How a member is; `errors` are its complaints, such as of no leader and alarms."""

    header: _Header = _Header()
    version: str = ""
    size: int = 0
    """Octets of its database."""
    leader: int = 0
    """Id of the leader, 0 where there is none."""
    errors: tuple[str, ...] = ()

    @property
    def has_no_room(self) -> bool:
        """Whether it takes no writes, although it answers reads."""
        return any("NOSPACE" in error for error in self.errors)


class Member(msgspec.Struct, frozen=True, rename={"id": "ID", "urls": "clientURLs"}):
    """A member of a cluster; one without a name has not started yet."""

    id: int = 0
    name: str = ""
    urls: tuple[str, ...] = ()


class _Alarm(msgspec.Struct, frozen=True):
    alarm: str = "NONE"


class _Alarms(msgspec.Struct):
    alarms: tuple[_Alarm, ...] = ()


class _Members(msgspec.Struct):
    members: tuple[Member, ...] = ()


_headed = msgspec.json.Decoder(_Headed, strict=False).decode
_range = msgspec.json.Decoder(_Range, strict=False).decode
_transaction = msgspec.json.Decoder(_Transaction, strict=False).decode
_streamed = msgspec.json.Decoder(_Streamed, strict=False).decode
_failed = msgspec.json.Decoder(Failed, strict=False).decode
_token = msgspec.json.Decoder(_Token).decode
_lease = msgspec.json.Decoder(Lease, strict=False).decode
_kept_alive = msgspec.json.Decoder(_KeptAlive, strict=False).decode
_status = msgspec.json.Decoder(Status, strict=False).decode
_alarms = msgspec.json.Decoder(_Alarms, strict=False).decode
_members = msgspec.json.Decoder(_Members, strict=False).decode


def read_cluster(octets: bytes) -> int:
    """Return the id of the cluster that an answer is of, 0 where it does not say so."""
    got = _headed(octets)
    return got.header.cluster_id or got.result.header.cluster_id


def read_found(octets: bytes) -> Found:
    """Return the answer to a range.  This and the others here raise msgspec.DecodeError."""
    return _range(octets).plain()


def read_outcome(octets: bytes) -> Outcome:
    """Return the answer to a transaction."""
    got = _transaction(octets)
    ranges = (one.response_range for one in got.responses)
    found = tuple(one.plain() for one in ranges if one is not None)
    return Outcome(got.succeeded, got.header.revision, found)


def read_watched(octets: bytes) -> WatchAnswer | Failed:
    """Return one line of a watch."""
    got = _streamed(octets)
    return got.result or got.error or Failed("an empty line")


def read_failed(octets: bytes) -> Failed:
    """Return what an answer says that is not 200."""
    return _failed(octets)


def read_token(octets: bytes) -> str:
    """Return the token of a user."""
    return _token(octets).token


def read_lease(octets: bytes) -> Lease:
    """Return a lease that was granted."""
    return _lease(octets)


def read_kept_alive(octets: bytes) -> Lease:
    """Return what is left of a lease."""
    return _kept_alive(octets).result


def read_status(octets: bytes) -> Status:
    """Return how a member is."""
    return _status(octets)


def read_no_space(octets: bytes) -> bool:
    """Return whether one of the alarms that are listed is that of no room."""
    return any(one.alarm == "NOSPACE" for one in _alarms(octets).alarms)


def read_members(octets: bytes) -> tuple[Member, ...]:
    """Return the members of a cluster."""
    return _members(octets).members


def whole_revisions(events: Sequence[Change], *, more_follows: bool) -> int:
    """Return how many of some changes, from the first on, are of revisions that are whole.

    All are if nothing more follows; else the last revision may go on.
    """
    if not events or not more_follows:
        return len(events)
    last = events[-1].mod_revision
    return next((n for n in range(len(events), 0, -1) if events[n - 1].mod_revision != last), 0)
