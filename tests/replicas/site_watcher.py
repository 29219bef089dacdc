"""A watch of Services that goes on at another replica whenever it ends, from the last version it has seen.

What it is told between two lists is all that etcd has changed meanwhile, each change once, in order.
"""

import contextlib
import http.client
import json
import random
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from replicas.etcd_log import SPAN, mark_of
from replicas.history import Change
from replicas.site import API, ReplicaHost
from replicas.site_clients import SERVICES, SPACE

SILENCE_SECONDS = 2.0
"""A watch that has brought nothing for so long goes on at another replica."""
GONE = 410
Told = tuple[int, str, str]
"""A revision of etcd, what it has changed, and the mark that it has from then on; "": it is gone."""


@dataclass
class Unbroken:
    """What was told from one list on, over all watches that went on from there."""

    listed: int
    told: list[Told] = field(default_factory=list)

    def faults(self, changes: Sequence[Change]) -> Iterator[str]:
        """Say in what it differs from what etcd has changed, as far as it goes."""
        end = self.told[-1][0] if self.told else self.listed
        begin = f"Service/{SPACE}/"
        wanted = [
            (change.revision, change.name, change.mark or "")
            for change in changes
            if self.listed < change.revision <= end and change.name.startswith(begin)
        ]
        if sorted(self.told) != sorted(wanted):
            missing, more = sorted(set(wanted) - set(self.told)), sorted(set(self.told) - set(wanted))
            yield f"watch: from {self.listed} on {missing} were not told, {more} did not happen, or twice"
        if any(before[0] > after[0] for before, after in zip(self.told, self.told[1:], strict=False)):
            yield f"watch: from {self.listed} on changes were told out of order"


class Watcher(threading.Thread):
    """Watches until told to stop."""

    def __init__(self, replicas: Sequence[ReplicaHost], seed: str) -> None:
        super().__init__(name="watcher", daemon=True)
        self.parts: list[Unbroken] = []
        self.watches = 0
        self.failure: BaseException | None = None
        self._replicas, self._random = replicas, random.Random(f"{seed} watcher")
        self._version = ""
        self._end = threading.Event()

    def run(self) -> None:
        """List, and watch on; list again where a replica says so."""
        try:
            while not self._end.wait(0.01):
                at = self._random.choice(self._replicas)
                with at.entered(), contextlib.suppress(OSError, http.client.HTTPException, ValueError):
                    self._follow()
        except BaseException as failure:
            self.failure = failure

    def _follow(self) -> None:
        if not self._version:
            with self._asked(SERVICES) as answer:
                if answer.status != 200:  # a replica that can't say what is newest refuses the list
                    return
                self._version = str(json.loads(answer.read())["metadata"]["resourceVersion"])
            self.parts.append(Unbroken(int(self._version) // SPAN))
        with self._asked(f"{SERVICES}?watch=true&resourceVersion={self._version}") as answer:
            self.watches += 1
            if answer.status == GONE:
                self._version = ""
            if answer.status != 200:
                return
            while not self._end.is_set() and (line := answer.readline()):
                if not self._take(json.loads(line)):
                    return

    def _take(self, event: dict[str, Any]) -> bool:
        if event["type"] == "ERROR":
            if event["object"]["code"] == GONE:
                self._version = ""
            return False
        metadata = event["object"]["metadata"]
        self._version = metadata["resourceVersion"]
        if event["type"] != "BOOKMARK":
            mark = mark_of(event["object"]) if event["type"] != "DELETED" else ""
            self.parts[-1].told.append(
                (int(self._version) // SPAN, f"Service/{SPACE}/{metadata['name']}", mark)
            )
        return True

    @contextmanager
    def _asked(self, path: str) -> Iterator[http.client.HTTPResponse]:
        connection = http.client.HTTPConnection(API, timeout=SILENCE_SECONDS)
        try:
            connection.request("GET", path)
            yield connection.getresponse()
        finally:
            connection.close()

    def stop(self) -> None:
        """End it."""
        self._end.set()
        self.join()


@contextmanager
def watching(replicas: Sequence[ReplicaHost], seed: str) -> Iterator[Watcher]:
    """Have a watcher for as long as the block takes."""
    watcher = Watcher(replicas, seed)
    watcher.start()
    try:
        yield watcher
    finally:
        watcher.stop()
