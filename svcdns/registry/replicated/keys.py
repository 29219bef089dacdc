"""What stands where in etcd, below the prefix of the configuration.

    objects/KIND/NAMESPACE/NAME    JSON of an object; its resourceVersion is its place (see `revisions`)
    owners/UID                     JSON of a deletion that goes on with dependents (see registry.cascades)
    precedence                     whose transaction goes before all others (see `precedence`)
    allocations/ip/ADDRESS         NAMESPACE/NAME of the Service that has the address; `lb` of load balancers
    allocations/port/NUMBER        the same of a node port
    replicas/REPLICA[.LANE]        id of the replica's last transaction in a lane (see `lanes`)
    live/REPLICA                   JSON of a replica that lives (see `living`, `naming`); goes with its lease
    heartbeats/REPLICA             JSON of the Pods that a replica has heard of for others (see `passing_on`)
    compaction                     whose turn it was last to compact (see `compaction`)
    migration                      while a registry is being moved here (see registry.migration)
    layout                         JSON: what all replicas have to agree on (see `layout`)

Slices that svcdns generates, or mirrors from Endpoints, are not there: each replica derives the same.
Allocations follow from the objects.  They stand there so that no transaction can give one out twice.
What replicas follow is from `objects/` to `replicas/`: each change of an object is a change there too.
"""

from __future__ import annotations

from ipaddress import ip_address
from typing import NamedTuple

from svcdns.objects.kinds import STORED_BY_NAME, Kind

_WORDS = {b"ip": "ip", b"lb": "lb", b"np": "port"}


class Named(NamedTuple):
    """Which object a key is of."""

    kind: Kind
    namespace: str
    name: str


class Keys:
    """The keys below one prefix."""

    def __init__(self, prefix: str) -> None:
        """`prefix` ends in a slash."""
        self.begin = prefix.encode()
        self.end = after(self.begin)
        """The first key behind all of them."""
        self.layout = self.begin + b"layout"
        self.heartbeats = self.begin + b"heartbeats/"
        self.migration = self.begin + b"migration"
        self.live = self.begin + b"live/"
        self.compaction = self.begin + b"compaction"
        self.replicas = self.begin + b"replicas/"
        self.objects = self.begin + b"objects/"
        self.owners = self.begin + b"owners/"
        self.precedence = self.begin + b"precedence"

    def of_kind(self, kind: Kind) -> bytes:
        """Return what the keys of a kind begin with."""
        return self.objects + f"{kind.name}/".encode()

    def object(self, kind: Kind, namespace: str, name: str) -> bytes:
        """Return the key of an object."""
        return self.objects + f"{kind.name}/{namespace}/{name}".encode()

    def named(self, key: bytes) -> Named | None:
        """Return which object a key is of, None where it is none's."""
        if not key.startswith(self.objects):
            return None
        parts = key[len(self.objects) :].decode(errors="replace").split("/")
        if len(parts) != len(Named._fields) or parts[0] not in STORED_BY_NAME:
            return None
        kind = STORED_BY_NAME[parts[0]]
        return Named(kind, *parts[1:]) if bool(parts[1]) == kind.namespaced and parts[2] else None

    def cascade(self, uid: str) -> bytes:
        """Return the key of the cascade of an owner."""
        return self.owners + uid.encode()

    def owner_of(self, key: bytes) -> str | None:
        """Return of which owner, by its uid, a key is the cascade, None where it is none's."""
        return key[len(self.owners) :].decode(errors="replace") if key.startswith(self.owners) else None

    def lanes(self, replica: str, count: int) -> list[bytes]:
        """Return the keys under which a replica says which were its last transactions, one for each lane."""
        own = self.replicas + replica.encode()
        return [own, *(own + b".%d" % number for number in range(2, count + 1))]

    def allocation(self, held: bytes) -> bytes:
        """Return the key of an address or port as `addresses.held` has it."""
        word, value = held[:2], held[2:]
        text = str(int.from_bytes(value)) if word == b"np" else str(ip_address(value[1:]))
        return self.begin + f"allocations/{_WORDS[word]}/{text}".encode()


def after(prefix: bytes) -> bytes:
    """Return the first key behind all that begin with a prefix."""
    return prefix[:-1] + bytes([prefix[-1] + 1])
