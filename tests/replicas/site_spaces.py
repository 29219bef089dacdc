"""At each replica somebody who creates Services in a namespace that is deleted at the same moment at another.

Nothing may be created where a deletion has begun, and nothing may stay of what is deleted: replicas share
the work of emptying it, and go on with that of one that has died.
"""

import contextlib
import itertools
import random
import threading
from typing import Any

from replicas.history import History
from replicas.site import ReplicaHost
from replicas.site_clients import JSON, Session
from toolbox.builders import namespace, service
from toolbox.calls import Broken

NAMESPACES = "/api/v1/namespaces"
AT_MOST = 8
"""Services that each creates in one namespace."""


class Settler(threading.Thread):
    """One of them; a barrier has all take part in the same namespace."""

    def __init__(
        self, number: int, at: ReplicaHost, history: History, all_of_them: threading.Barrier
    ) -> None:
        super().__init__(name=f"settler at {at.short}", daemon=True)
        self.session = Session(history, [at])
        self.failure: BaseException | None = None
        self.end = threading.Event()
        self.deleted: list[str] = []
        """Namespaces of which the deletion was acknowledged."""
        self._number, self._at, self._all = number, at, all_of_them
        self._calls, self._random = at.calls(), random.Random(number)

    def run(self) -> None:
        """Go on until told to stop."""
        try:
            with self._at.entered(), contextlib.suppress(threading.BrokenBarrierError):  # at the end
                for turn in itertools.count():
                    self._take_part(turn, f"space-{turn}")
        except BaseException as failure:
            self.failure = failure

    def _take_part(self, turn: int, name: str) -> None:
        if turn % self._all.parties == self._number:
            self._said("POST", f"{NAMESPACES}?waitFor=all", namespace(name))
        self._all.wait()
        if (turn + 1) % self._all.parties == self._number:
            self.end.wait(self._random.uniform(0, 0.1))
            if self._said("DELETE", f"{NAMESPACES}/{name}"):
                self.deleted.append(name)
        else:
            self._settle(name)
        self.end.wait(0.2)
        self._all.wait()

    def _said(self, method: str, path: str, body: Any = None) -> bool:
        """Return whether that was acknowledged."""
        try:
            return self._calls.call(method, path, body)[0] in (200, 201)
        except Broken:
            return False

    def _settle(self, name: str) -> None:
        for number in range(AT_MOST):
            made = service(f"s-{number}-{self._at.short}")
            named = f"Service/{name}/{made['metadata']['name']}"
            path = f"{NAMESPACES}/{name}/services"
            operation, _ = self.session.write(self._at, "POST", path, named, made, content_type=JSON)
            if not operation.revision:
                return
