"""What a plain question costs, counted: look-ups, calls, what stays allocated; and one ratio, to a bare loop.

Counts are the same on each machine and under any load.  test_compiled_path.py has those of the compiled path.
"""

import sys
from collections.abc import Callable
from dataclasses import replace
from time import process_time
from typing import Any

import pytest
from toolbox.answerer_harness import AnswererHarness, Z
from toolbox.question_packets import OPTS, question

from svcdns.dns import stats
from svcdns.dns.answer import Answerer
from svcdns.dns.path_choice import VARIABLE
from svcdns.dns.view import View

A, SRV, MX = 1, 33, 15
PLAIN = [
    ("A of one", f"web.default.svc.{Z}", A),
    ("SRV", f"web.default.svc.{Z}", SRV),
    ("A of twenty", f"many.default.svc.{Z}", A),
    ("A of a short name", f"web.default.{Z}", A),
    ("no such type", f"web.default.svc.{Z}", MX),
    ("no such name", f"no.default.svc.{Z}", A),
]
plain = pytest.mark.parametrize(("name", "rrtype"), [row[1:] for row in PLAIN], ids=[row[0] for row in PLAIN])
MOST_CALLS = 45
"""Functions that Python's path calls for a question, C's and methods of bytes included; today 27 to 36."""


@pytest.fixture
def answerer(monkeypatch: pytest.MonkeyPatch) -> Answerer:
    """One by Python's path."""
    monkeypatch.setenv(VARIABLE, "python")
    made = Answerer(stats.Stats())
    assert made.compiled is None
    return made


class CountedTransaction:
    """A transaction that notes what is got, and each place that a cursor goes to."""

    def __init__(self, txn: Any, looks: list[bytes]) -> None:
        self._txn, self._looks = txn, looks

    def get(self, key: bytes, **more: Any) -> Any:
        self._looks.append(key)
        return self._txn.get(key, **more)

    def cursor(self, db: Any) -> "CountedTransaction":
        return CountedTransaction(self._txn.cursor(db), self._looks)

    def set_range(self, key: bytes) -> Any:
        self._looks.append(key)
        return self._txn.set_range(key)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._txn, name)


def ask(answerer: Answerer, view: View, packet: bytes) -> bytes:
    """Have the plain path alone answer."""
    reply = answerer._fast(packet, view, stats.UDP, 1)
    assert isinstance(reply, bytes), "not plain"
    return reply


@plain
def test_a_plain_question_looks_up_one_row(
    shared_world: AnswererHarness, answerer: Answerer, name: str, rrtype: int
) -> None:
    looks: list[bytes] = []
    with shared_world.snapshots.begin() as snapshot:
        table = answerer.look_at(snapshot).table
        counted = replace(snapshot, txn=CountedTransaction(snapshot.txn, looks))
        view = View(counted, table)
        ask(answerer, view, question(name, rrtype))  # the SOA of empty answers is read once a batch
        looks.clear()
        ask(answerer, view, question(name, rrtype))
    exists = not name.startswith("no.")
    assert len(looks) == (1 if exists else 2), looks  # one more asks whether something is below the name


@plain
@pytest.mark.parametrize("opt", [b"", OPTS[1]], ids=["without OPT", "with OPT"])
def test_a_plain_question_calls_few_functions(
    shared_world: AnswererHarness, answerer: Answerer, name: str, rrtype: int, opt: bytes
) -> None:
    packet = question(name, rrtype, opt=opt)
    with shared_world.snapshots.begin() as snapshot:
        view = answerer.look_at(snapshot)
        ask(answerer, view, packet)  # what is learnt once is known then
        assert calls(lambda: ask(answerer, view, packet)) <= MOST_CALLS


def calls(do: Callable[[], object]) -> int:
    """Return how many functions are called, Python's and C's."""
    count = 0

    def note(_: object, event: str, __: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(note)
    try:
        do()
    finally:
        sys.setprofile(None)
    return count


@pytest.mark.parametrize("path", ["python", "compiled"])
def test_answers_leave_nothing_allocated(
    shared_world: AnswererHarness, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    """A leak of one object in ten questions would show."""
    monkeypatch.setenv(VARIABLE, path)
    answerer = Answerer(stats.Stats())
    if path == "compiled" and answerer.compiled is None:
        pytest.skip("no compiler was there")
    packets = [question(name, rrtype, opt=opt) for _, name, rrtype in PLAIN for opt in (b"", OPTS[1])]

    def ask_all(times: int) -> None:
        for _ in range(times):
            with shared_world.snapshots.begin() as snapshot:
                for packet in packets:
                    answerer.answer(packet, snapshot)

    ask_all(50)
    before = sys.getallocatedblocks()
    ask_all(200)
    assert sys.getallocatedblocks() - before < 200 * len(packets) / 10


@pytest.mark.alone
def test_the_plain_path_is_near_a_bare_loop(shared_world: AnswererHarness, answerer: Answerer) -> None:
    """Which only lowers, looks up and concatenates.  In one process, in turns: the least of some rounds."""
    packets = [question(f"web.default.svc.{Z}", A)] * 500

    def plain_path(view: View) -> None:
        for packet in packets:
            answerer._fast(packet, view, stats.UDP, 1)

    def bare(view: View) -> None:
        key = view.table.cluster_key + b"\0svc\0default\0web"
        get, answers = view.snapshot.txn.get, view.snapshot.answers
        for packet in packets:
            labels = packet[12:-5].lower().split(b".")
            row = get(key, db=answers) or b""
            _ = packet[:2] + b"\x85\0\0\1\0\1\0\0\0\0" + packet[12:] + row[20:36] + labels[0][:0]

    least = {plain_path: float("inf"), bare: float("inf")}
    for _ in range(9):
        for one in least:
            with shared_world.snapshots.begin() as snapshot:
                view = answerer.look_at(snapshot)
                began = process_time()
                one(view)
                least[one] = min(least[one], process_time() - began)
    assert least[plain_path] < 10 * least[bare]  # today 5
