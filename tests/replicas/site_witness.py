"""Witnesses: each asks one replica all the time, for names that stay and for one that each write changes.

The name of `TURNING` leads to a name that begins with the mark of the write that has made it so.  So each
answer says from which write it follows, and the checker finds one that is older than what was shown before.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from replicas.history import Answer as Shown
from replicas.history import History
from replicas.site import ReplicaHost, Site, judged
from replicas.site_clients import SPACE, TURNING, fqdn
from toolbox.witness import CNAME, NOERROR, Answer


class DnsWitness(threading.Thread):
    """Asks until told to stop."""

    def __init__(self, replica: ReplicaHost, wanted: dict[str, Answer], history: History) -> None:
        """`wanted` are names that are there all the time, with their answers."""
        super().__init__(name=f"witness of {replica.short}", daemon=True)
        self.questions = 0
        self.faults: list[str] = []
        self.failure: BaseException | None = None
        self._replica, self._wanted, self._history = replica, wanted, history
        self._end = threading.Event()

    def run(self) -> None:
        """Ask until told to stop."""
        try:
            with self._replica.entered():
                while not self._end.wait(0.01):
                    for name, wanted in self._wanted.items():
                        began = time.monotonic_ns()
                        self._judge(name, began, wanted, self._replica.ask(name))
                    self._ask_what_turns()
        except BaseException as failure:
            self.failure = failure

    def _judge(self, name: str, began: int, wanted: Answer | None, got: Answer | None) -> None:
        self.questions += 1
        if (fault := judged(self._replica, name, began, wanted, got)) is not None:
            self.faults.append(fault)

    def _ask_what_turns(self) -> None:
        began = time.monotonic_ns()
        got = self._replica.ask(fqdn(TURNING), CNAME)
        if got is not None and got.rcode == NOERROR and len(got.data) == 1:
            [target] = got.data
            mark = target[1 : 1 + target[0]].decode()
            named = f"Service/{SPACE}/{TURNING}"
            self._history.answers.append(Shown(self._replica.short, named, mark, began, time.monotonic_ns()))
            self.questions += 1
        else:
            self._judge(fqdn(TURNING), began, None, got)

    def stop(self) -> None:
        """End it."""
        self._end.set()
        self.join()


@contextmanager
def witnessed(site: Site, wanted: dict[str, Answer], history: History) -> Iterator[list[DnsWitness]]:
    """Have a witness at each replica for as long as the block takes."""
    witnesses = [DnsWitness(replica, wanted, history) for replica in site.replicas]
    for witness in witnesses:
        witness.start()
    try:
        yield witnesses
    finally:
        for witness in witnesses:
            witness.stop()
