"""At each replica somebody takes part in what is deleted at one, and written about at others meanwhile.

`Settler`s create in a namespace that goes: nothing may be created once its deletion has begun, and nothing
may stay of it.  `Owner`s have a Lease that owns others, and is held back by a finalizer in every second turn.
Replicas share the work that follows, and go on with that of one that has died.
"""

import contextlib
import itertools
import random
import threading
from typing import Any

from replicas.history import History
from replicas.site import ReplicaHost
from replicas.site_clients import JSON, MERGE, SPACE, Session
from toolbox.builders import lease, namespace, service
from toolbox.calls import Broken

NAMESPACES = "/api/v1/namespaces"
LEASES = f"/apis/coordination.k8s.io/v1/namespaces/{SPACE}/leases"
AT_MOST = 8
"""Services that each creates in one namespace, Leases that one owns."""


class Remover(threading.Thread):
    """One who takes part in turns; a barrier has all do so in the same one."""

    kind = ""

    def __init__(self, number: int, at: ReplicaHost, history: History, together: threading.Barrier) -> None:
        super().__init__(name=f"{self.kind} at {at.short}", daemon=True)
        self.session = Session(history, [at])
        self.failure: BaseException | None = None
        self.end = threading.Event()
        self.deleted: list[str] = []
        """The names of what has to go: the deletion was acknowledged, and nothing holds it."""
        self._number, self._at, self._together = number, at, together
        self._calls, self._random = at.calls(), random.Random(number)

    def run(self) -> None:
        """Go on until told to stop."""
        try:
            with self._at.entered(), contextlib.suppress(threading.BrokenBarrierError):  # at the end
                for turn in itertools.count():
                    self._begin(turn, (turn + self._number) % self._together.parties)
                    self._together.wait()
                    self._take_part(turn, (turn + self._number) % self._together.parties)
                    self._together.wait()
                    self.end.wait(0.2)
        except BaseException as failure:
            self.failure = failure

    def _begin(self, turn: int, part: int) -> None:
        """Prepare what a turn is about."""
        raise NotImplementedError

    def _take_part(self, turn: int, part: int) -> None:
        """Do one's part of it, while others do theirs."""
        raise NotImplementedError

    def _said(self, method: str, path: str, body: Any = None, content_type: str = JSON) -> bool:
        """Return whether that was acknowledged."""
        try:
            return self._calls.call(method, path, body, content_type)[0] in (200, 201)
        except Broken:
            return False

    def _shortly(self) -> None:
        self.end.wait(self._random.uniform(0, 0.1))


class Settler(Remover):
    """One deletes a namespace, the others create in it."""

    kind = "settler"

    def _begin(self, turn: int, part: int) -> None:
        if part == 0:
            self._said("POST", f"{NAMESPACES}?waitFor=all", namespace(f"space-{turn}"))

    def _take_part(self, turn: int, part: int) -> None:
        name = f"space-{turn}"
        if part == 1:
            self._shortly()
            if self._said("DELETE", f"{NAMESPACES}/{name}"):
                self.deleted.append(name)
            return
        for number in range(AT_MOST):
            made = service(f"s-{number}-{self._at.short}")
            named = f"Service/{name}/{made['metadata']['name']}"
            path = f"{NAMESPACES}/{name}/services"
            operation, _ = self.session.write(self._at, "POST", path, named, made, content_type=JSON)
            if not operation.revision:
                return


class Owner(Remover):
    """One deletes what owns others, another one creates what it owns, the third takes its finalizer away."""

    kind = "owner"

    def _begin(self, turn: int, part: int) -> None:
        if part == 0:
            made = lease(f"owner-{turn}")
            made["metadata"]["finalizers"] = ["tests.example/held"] if turn % 2 else []
            self._said("POST", f"{LEASES}?waitFor=all", made)

    def _take_part(self, turn: int, part: int) -> None:
        path = f"{LEASES}/owner-{turn}"
        if part == 1:
            self._own(turn)
            return
        self._shortly()
        if part == 0:
            if self._said("DELETE", path) and turn % 2 == 0:
                self.deleted.append(f"owner-{turn}")
        elif turn % 2:
            self._said("PATCH", path, {"metadata": {"finalizers": []}}, MERGE)

    def _own(self, turn: int) -> None:
        with contextlib.suppress(Broken):
            status, found = self._calls.call("GET", f"{LEASES}/owner-{turn}")
            for number in range(AT_MOST if status == 200 else 0):
                made = lease(f"owned-{turn}-{number}")
                owner = {name: found["metadata"][name] for name in ("name", "uid")}
                kind = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease"}
                made["metadata"]["ownerReferences"] = [{**kind, **owner}]
                if not self._said("POST", LEASES, made):
                    return
