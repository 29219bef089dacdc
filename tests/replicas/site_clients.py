"""Clients of a site: they create Services, change them on condition, flip readiness, delete, read and ask.

Each asks one replica after the other, and writes down in a history what it did and was told.  A name of its
own is left alone after a write of which the outcome is not known.
"""

import contextlib
import itertools
import json
import random
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from replicas.etcd_log import SPAN, mark_of, marks
from replicas.history import History, Operation, Outcome
from replicas.site import ReplicaHost, judged
from toolbox.builders import headless, pod, ready_condition, service
from toolbox.calls import Broken
from toolbox.witness import GONE, Answer, address, there

SPACE = "load"
SERVICES, PODS = (f"/api/v1/namespaces/{SPACE}/{plural}" for plural in ("services", "pods"))
SHARED = ("shared-1", "shared-2", "shared-3")
TURNING = "turning"
"""An ExternalName Service that leads to the mark of the write that has made it so: see `site_witness`."""
_CONTESTED: list[dict[str, Any]] = [
    *({"clusterIP": f"10.96.0.{number}"} for number in (77, 78)),
    *({"type": "NodePort", "ports": [{"port": 80, "nodePort": port}]} for port in (30077, 30078)),
]
"""What several clients want for their Services, and one at a time gets."""
MERGE, JSON = "application/merge-patch+json", "application/json"
NOTHING_CHANGED = {400, 403, 404, 409, 413, 422, 429, 503, 507}
NOT_KNOWN = {504}

_numbers = itertools.count(1)
_sessions = itertools.count(1)


def new_mark() -> str:
    """Return what only one write has."""
    return f"m{next(_numbers)}"


def marked(obj: dict[str, Any], by: str, mark: str) -> dict[str, Any]:
    """Return an object, or a change of one, that says which write has made it, and whose that was."""
    annotations = obj["metadata"].get("annotations", {}) | marks(by, mark)
    return {**obj, "metadata": {**obj["metadata"], "annotations": annotations}}


def leads_to(mark: str) -> dict[str, str]:
    """Return the spec of `TURNING`, after the write with this mark."""
    return {"type": "ExternalName", "externalName": f"{mark}.example"}


def fqdn(name: str) -> str:
    """Return the name of a Service of the clients."""
    return f"{name}.{SPACE}.svc.cluster.local"


class Session:
    """What one thread says to all replicas: recorded operations."""

    def __init__(self, history: History, replicas: Sequence[ReplicaHost]) -> None:
        self.history = history
        self.faults: list[str] = []
        self._by = f"c{next(_sessions)}"
        self._calls = {replica.short: replica.calls() for replica in replicas}

    def write(
        self,
        at: ReplicaHost,
        method: str,
        path: str,
        name: str,
        obj: dict[str, Any] | None = None,
        base: int = 0,
        content_type: str = MERGE,
        mark: str = "",
    ) -> tuple[Operation, Any]:
        """Record a write of what is marked, or a delete; return what came of it, and the answer."""
        leaves = mark or new_mark() if obj is not None else None
        body = marked(obj, self._by, leaves) if obj is not None and leaves is not None else None
        with self.history.operation(at.short, name, mark=leaves, base=base, by=self._by) as operation:
            status, answer = self._call(at, operation, method, path, body, content_type)
            if status in (200, 201):
                written = answer["metadata"].get("resourceVersion") if obj is not None else None
                operation.done(int(written) // SPAN if written else 0)
        return operation, answer

    def read(self, at: ReplicaHost, collection: str, name: str = "") -> dict[str, Any] | None:
        """Record a list, or that of one object; return the object if it is there."""
        query = f"?fieldSelector=metadata.name%3D{name}" if name else ""
        kind = "Service" if collection == SERVICES else "Pod"
        begin = f"{kind}/{SPACE}/"
        with self.history.operation(at.short, begin + name, is_read=True) as operation:
            status, answer = self._call(at, operation, "GET", collection + query)
            if status != 200:
                return None
            operation.is_consistent = not self._calls[at.short].warning
            seen = {begin + item["metadata"]["name"]: mark_of(item) for item in answer["items"]}
            operation.done(int(answer["metadata"]["resourceVersion"]) // SPAN, seen)
        found: list[dict[str, Any]] = answer["items"]
        return found[0] if name and found else None

    def _call(
        self,
        at: ReplicaHost,
        operation: Operation,
        method: str,
        path: str,
        body: Any = None,
        as_: str = MERGE,
    ) -> tuple[int, Any]:
        try:
            status, answer = self._calls[at.short].call(method, path, body, as_)
        except ConnectionRefusedError:
            operation.refused()
            return 0, None
        except (*Broken, json.JSONDecodeError):
            return 0, None
        if status in NOTHING_CHANGED:
            operation.refused()
        elif status not in NOT_KNOWN and status >= 300:
            self.faults.append(f"API: {operation} is answered {status}: {answer}")
        return status, answer

    def shows(self, at: ReplicaHost, name: str, wanted: Answer) -> None:
        """Have a name answered at once by who has acknowledged the write from which it follows."""
        began = time.monotonic_ns()
        got = at.ask(fqdn(name))
        if fault := judged(at, fqdn(name), began, wanted, got):
            self.faults.append(f"read your write: {fault}")


class Client(threading.Thread):
    """Does one thing after the other until told to stop."""

    def __init__(self, number: int, seed: str, history: History, replicas: Sequence[ReplicaHost]) -> None:
        super().__init__(name=f"client {number}", daemon=True)
        self.session = Session(history, replicas)
        self.failure: BaseException | None = None
        self.end = threading.Event()
        self._number, self._replicas = number, replicas
        self._random = random.Random(f"{seed} {number}")
        self._names = itertools.count()
        self._own: list[tuple[str, Answer]] = []
        """Services of its own that are there, and what their names answer."""
        self._app, self._ip, self._is_ready = "", "", False

    def run(self) -> None:
        """Go on until told to stop."""
        does: list[Callable[[ReplicaHost], bool]] = [
            self._do_create,
            self._do_create,
            self._do_delete,
            self._do_change,
        ]
        does += [self._do_change_on_condition, self._do_replace, self._do_turn] + [self._do_flip] * 2
        does += [self._do_list, self._do_read_one]
        try:
            while not self.end.is_set():
                at = self._random.choice([one for one in self._replicas if not one.is_away] or self._replicas)
                with at.entered():
                    went_well = self._random.choice(does)(at)
                if not went_well:
                    self.end.wait(0.02)
        except BaseException as failure:
            self.failure = failure

    def _do_create(self, at: ReplicaHost) -> bool:
        if len(self._own) > 6:
            return self._do_delete(at)
        name = f"own-{self._number}-{next(self._names)}"
        made = service(name, **self._random.choice([{}, {"type": "NodePort"}, *_CONTESTED]))
        operation, answer = self._post(at, SERVICES, f"Service/{SPACE}/{name}", made)
        if not operation.revision:
            return False
        wanted = there(address(answer["spec"]["clusterIP"]))
        self._own.append((name, wanted))
        self.session.shows(at, name, wanted)
        return True

    def _post(
        self, at: ReplicaHost, path: str, name: str, made: dict[str, Any]
    ) -> tuple[Operation, dict[str, Any]]:
        return self.session.write(at, "POST", path, name, made, content_type=JSON)

    def _do_delete(self, at: ReplicaHost) -> bool:
        if not self._own:
            return True
        name, _ = self._own.pop(0)
        operation, _ = self.session.write(at, "DELETE", f"{SERVICES}/{name}", f"Service/{SPACE}/{name}")
        if operation.outcome is not Outcome.DONE:
            return False
        self.session.shows(at, name, GONE)
        return True

    def _do_change(self, at: ReplicaHost) -> bool:
        if not self._own:
            return True
        name, wanted = self._random.choice(self._own)
        change = {"metadata": {"labels": {"at": at.short}}}
        operation, _ = self.session.write(
            at, "PATCH", f"{SERVICES}/{name}", f"Service/{SPACE}/{name}", change
        )
        if not operation.revision:
            return False
        self.session.shows(at, name, wanted)
        return True

    def _do_change_on_condition(self, at: ReplicaHost) -> bool:
        name = self._random.choice(SHARED)
        seen = self.session.read(at, SERVICES, name)
        if seen is None:
            return False
        base = seen["metadata"]["resourceVersion"]
        change = {"metadata": {"resourceVersion": base, "labels": {"by": str(self._number)}}}
        named = f"Service/{SPACE}/{name}"
        operation, _ = self.session.write(at, "PATCH", f"{SERVICES}/{name}", named, change, int(base))
        return bool(operation.revision)

    def _do_replace(self, at: ReplicaHost) -> bool:
        name = self._random.choice(SHARED)
        seen = self.session.read(at, SERVICES, name)
        if seen is None:
            return False
        seen["metadata"].setdefault("labels", {})["by"] = str(self._number)
        named, base = f"Service/{SPACE}/{name}", int(seen["metadata"]["resourceVersion"])
        operation, _ = self.session.write(at, "PUT", f"{SERVICES}/{name}", named, seen, base, JSON)
        return bool(operation.revision)

    def _do_turn(self, at: ReplicaHost) -> bool:
        mark, named = new_mark(), f"Service/{SPACE}/{TURNING}"
        change = {"metadata": {}, "spec": leads_to(mark)}
        operation, _ = self.session.write(at, "PATCH", f"{SERVICES}/{TURNING}", named, change, mark=mark)
        return bool(operation.revision)

    def _do_flip(self, at: ReplicaHost) -> bool:
        """Have a headless Service of its own with one Pod, and flip its readiness."""
        if not self._app:
            return self._begin_app(at)
        is_ready = not self._is_ready
        change = {"metadata": {}, "status": {"conditions": [ready_condition(is_ready)]}}
        path, named = f"{PODS}/{self._app}", f"Pod/{SPACE}/{self._app}"
        operation, _ = self.session.write(at, "PATCH", f"{path}/status", named, change)
        if operation.outcome is Outcome.UNKNOWN:
            self._app = ""
        if not operation.revision:
            return False
        self._is_ready = is_ready
        self.session.shows(at, self._app, there(address(self._ip)) if is_ready else GONE)
        return True

    def _begin_app(self, at: ReplicaHost) -> bool:
        number = next(self._names)
        app, self._ip = f"pods-{self._number}-{number}", f"10.{self._number}.{number // 250}.{number % 250}"
        if not self._post(at, SERVICES, f"Service/{SPACE}/{app}", headless(app))[0].revision:
            return False
        made = pod(app, self._ip, app, ready=True)
        if not self._post(at, PODS, f"Pod/{SPACE}/{app}", made)[0].revision:
            return False
        self._app, self._is_ready = app, True
        self.session.shows(at, app, there(address(self._ip)))
        return True

    def _do_list(self, at: ReplicaHost) -> bool:
        self.session.read(at, self._random.choice([SERVICES, PODS]))
        return True

    def _do_read_one(self, at: ReplicaHost) -> bool:
        if self._own:
            self.session.read(at, SERVICES, self._random.choice(self._own)[0])
        return True


class Racer(threading.Thread):
    """At one replica: wants the address that others want at the same moment at theirs."""

    def __init__(self, at: ReplicaHost, history: History, start: threading.Barrier) -> None:
        super().__init__(name=f"racer at {at.short}", daemon=True)
        self.session = Session(history, [at])
        self.failure: BaseException | None = None
        self.end = threading.Event()
        self._at, self._start = at, start

    def run(self) -> None:
        """Go on until told to stop."""
        try:
            with self._at.entered(), contextlib.suppress(threading.BrokenBarrierError):  # at the end
                for number in itertools.count():
                    self._start.wait()
                    self._race(number)
                    self.end.wait(0.05)
        except BaseException as failure:
            self.failure = failure

    def _race(self, number: int) -> None:
        name = f"race-{number}-{self._at.short}"
        made = service(name, clusterIP=f"10.97.{number // 250}.{number % 250}")
        named = f"Service/{SPACE}/{name}"
        operation, _ = self.session.write(self._at, "POST", SERVICES, named, made, content_type=JSON)
        if operation.revision:
            self.session.write(self._at, "DELETE", f"{SERVICES}/{name}", named)
