"""What etcd says that has changed: watched from outside, without the client of svcdns, from the beginning."""

import base64
import contextlib
import http.client
import json
import socket
import threading
from typing import Any

from replicas.history import Allocation, Change, Owned, Space
from toolbox.etcd_members import Members
from toolbox.hosts import Host
from toolbox.waiting import wait_for

SILENCE_SECONDS = 2.0
"""A member that has said nothing for so long may be frozen, or cut off: another one is watched."""
SPAN = 1_000_000
"""Versions in a revision of etcd."""
MARK = "mark"
"""The annotation of an object that says which write has made it what it is."""

BY_ITSELF = "svcdns-"


class EtcdLog(threading.Thread):
    """Keeps all changes of objects; a context manager that starts and stops it."""

    def __init__(self, etcd: Members, host: Host, prefix: str) -> None:
        """Watch from a host that reaches all members."""
        super().__init__(name="log of etcd", daemon=True)
        self.changes: list[Change] = []
        self.allocations: list[Allocation] = []
        self.spaces: list[Space] = []
        self.owned: list[Owned] = []
        """Of all Leases."""
        self.position = 0
        """Up to which revision all changes are there."""
        self._etcd, self._host, self._prefix = etcd, host, prefix
        self._ends = False

    def __enter__(self) -> "EtcdLog":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ends = True
        self.join()

    def run(self) -> None:
        """Watch one member after the other until told to stop."""
        number = 0
        with self._host.entered():
            while not self._ends:
                with contextlib.suppress(OSError, http.client.HTTPException, ValueError):
                    self._watch(self._etcd.members[number % len(self._etcd.members)].client)
                number += 1

    def comes_to(self, revision: int) -> None:
        """Wait until all is there up to a revision."""
        wait_for(lambda: self.position >= revision, f"the log to come to revision {revision}")

    def _watch(self, client: str) -> None:
        connection = http.client.HTTPConnection(client.removeprefix("http://"), timeout=SILENCE_SECONDS)
        begin = self._prefix.encode()
        wanted = {
            "key": _base64(begin),
            "range_end": _base64(begin[:-1] + bytes([begin[-1] + 1])),
            "start_revision": str(self.position + 1),
        }
        try:
            connection.request("POST", "/v3/watch", json.dumps({"create_request": wanted}))
            answer = connection.getresponse()
            while not self._ends and (line := answer.readline()):
                answered = json.loads(line)
                if "result" not in answered:  # an error, of a member that ends for instance
                    return
                self._take(answered["result"])
        finally:
            if connection.sock is not None:
                with contextlib.suppress(OSError):
                    connection.sock.shutdown(socket.SHUT_RDWR)
            connection.close()

    def _take(self, result: dict[str, Any]) -> None:
        assert "compact_revision" not in result, "compacted before it was seen"
        for event in result.get("events", ()):
            kv = event["kv"]
            revision = int(kv["mod_revision"])
            key = base64.b64decode(kv["key"]).decode().removeprefix(self._prefix)
            value = base64.b64decode(kv.get("value", "")) if event.get("type") != "DELETE" else None
            self._note(revision, key, value)
            self.position = revision

    def _note(self, revision: int, key: str, value: bytes | None) -> None:
        kind, _, name = key.partition("/")
        if kind == "allocations":
            owner = f"Service/{value.decode()}" if value is not None else None
            self.allocations.append(Allocation(revision, name, owner))
        elif kind == "objects" and name.startswith(("Service/", "Pod/")):
            self.changes.append(_change(revision, name, value))
        elif kind == "objects" and name.startswith("Namespace/"):
            is_there = value is not None
            is_open = value is not None and "deletionTimestamp" not in json.loads(value)["metadata"]
            self.spaces.append(Space(revision, name.rpartition("/")[2], is_open, is_there))
        elif kind == "objects" and name.startswith("Lease/"):
            self.owned.append(_owned(revision, name, value))


def _change(revision: int, name: str, value: bytes | None) -> Change:
    if value is None:
        return Change(revision, name, None)
    found = json.loads(value)
    version = revision * SPAN + int(found["metadata"]["resourceVersion"])
    found["metadata"]["resourceVersion"] = str(version)
    return Change(revision, name, mark_of(found), version, frozenset(held_by(found)), _marks_of(found))


def _owned(revision: int, name: str, value: bytes | None) -> Owned:
    if value is None:
        return Owned(revision, name)
    metadata = json.loads(value)["metadata"]
    owners = frozenset(one["uid"] for one in metadata.get("ownerReferences", ()))
    is_over = "deletionTimestamp" in metadata and not metadata.get("finalizers")
    return Owned(revision, name, metadata["uid"], owners, is_over)


def mark_of(found: dict[str, Any]) -> str:
    """Return which write has made an object what it is; of what svcdns has made itself its version."""
    metadata = found["metadata"]
    return metadata.get("annotations", {}).get(MARK) or f"{BY_ITSELF}{metadata['resourceVersion']}"


def marks(by: str, mark: str) -> dict[str, str]:
    """Return the annotations that a write leaves: its mark, and whose it is, beside those of others."""
    return {MARK: mark, f"{MARK}-{by}": mark}


def _marks_of(found: dict[str, Any]) -> dict[str, str]:
    annotations = found["metadata"].get("annotations", {})
    begin = f"{MARK}-"
    return {key.removeprefix(begin): mark for key, mark in annotations.items() if key.startswith(begin)}


def held_by(found: dict[str, Any]) -> list[str]:
    """Return the addresses and ports of a Service that nobody else may have, as `allocations` names them."""
    spec = found.get("spec", {})
    addresses = [f"ip/{one}" for one in spec.get("clusterIPs", ()) if one != "None"]
    return addresses + [f"port/{port['nodePort']}" for port in spec.get("ports", ()) if "nodePort" in port]


def _base64(octets: bytes) -> str:
    return base64.b64encode(octets).decode()
