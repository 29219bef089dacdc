"""Promise 3, DNS outlives the API: the writer's death loses no question, nor does a worker's death lose
one that waits; a restarted server answers from its last state before its writer runs.

A question that a worker has already taken from its socket dies with it: no datagram can be put back.
So a client that asks one by one may lose one question a kill, and no more.
"""

import os
import select
import selectors
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from toolbox.calls import Calls, fqdn
from toolbox.running_server import RunningServer
from toolbox.stopping import stop
from toolbox.waiting import GUARD_SECONDS, wait_for
from toolbox.witness import Answer, Witness, address, connected, make_question, read_answer, there

from svcdns.server.counters import WRITER
from svcdns.server.data_folder import ADDRESSES

QUESTIONS = 2_000
KILLS = 10
WRITER_KILLS = 6
"""The fifth and later ones within ten seconds are followed by a growing pause without a writer."""
ASK_AGAIN_SECONDS = 1.0
"""After this the same worker, or the one in its place, is asked again: sockets are read in their order, so a
question is lost when a later one is answered before it."""
TRIES = 60


@pytest.fixture
def own() -> Iterator[RunningServer]:
    """Three workers: ten deaths among them within ten seconds, and none is given up for it."""
    with RunningServer(workers=3) as server:
        yield server


class OneByOne(threading.Thread):
    """Asks one question after the other, from changing ports, until told to stop."""

    def __init__(self, where: tuple[str, int], name: str, expected: Answer) -> None:
        super().__init__(daemon=True)
        self.where, self.name_asked, self.expected = where, name, expected
        self.asked = self.lost = 0
        self.wrong: list[Answer] = []
        self._stop_told = threading.Event()

    def run(self) -> None:
        while not self._stop_told.is_set():
            with connected(self.where) as sock:
                self._ask(sock)

    def _ask(self, sock: socket.socket) -> None:
        self.asked += 1
        questions = [make_question(self.name_asked, number=number) for number in range(TRIES)]
        for question in questions:
            sock.send(question)
            if select.select([sock], [], [], ASK_AGAIN_SECONDS)[0]:
                break
        reply = sock.recv(4096)
        answered = int.from_bytes(reply[:2])
        self.lost += answered
        if (answer := read_answer(questions[answered], reply)) != self.expected:
            self.wrong.append(answer)

    def until(self, asked: int) -> None:
        """Wait until so many questions were asked."""
        wait_for(lambda: self.asked >= asked or not self.is_alive(), "questions")

    def finish(self) -> None:
        self._stop_told.set()
        self.join()


def registered(server: RunningServer, name: str = "web") -> Answer:
    """Register a Service; return what must be answered for it."""
    calls = Calls(server.api)
    ip = calls.create_service(name)["spec"]["clusterIP"]
    calls.close()
    return there(address(ip))


def test_the_writer_dies_again_and_again_and_no_question_is_lost(own: RunningServer) -> None:
    client = OneByOne(own.dns, fqdn("web"), registered(own))
    client.start()
    counters = own.counters()
    for kill in range(WRITER_KILLS):
        os.kill(own.writer_pid, signal.SIGKILL)
        wait_for(lambda: counters.get(WRITER, "restarts") > kill, "another writer")  # noqa: B023
        client.until((kill + 1) * QUESTIONS // WRITER_KILLS)
    client.finish()
    assert (client.lost, client.wrong) == (0, [])
    assert client.asked >= QUESTIONS
    wait_for(counters.ready, "the server to be ready again")
    assert registered(own, "after")


def test_a_writer_that_hangs_keeps_nobody_from_answers(own: RunningServer) -> None:
    client = OneByOne(own.dns, fqdn("web"), registered(own))
    stop(own.writer_pid)
    client.start()
    client.until(QUESTIONS)
    client.finish()
    os.kill(own.writer_pid, signal.SIGCONT)
    assert (client.lost, client.wrong) == (0, [])


class Crowd:
    """Many clients with one question each, all asked before an answer is read."""

    def __init__(self, where: tuple[str, int], size: int, name: str) -> None:
        self._question = make_question(name)
        self._sockets = [connected(where) for _ in range(size)]
        for sock in self._sockets:
            sock.send(self._question)

    def answers(self) -> list[Answer]:
        """Return the answers that come, and give up when none has come for a while."""
        found = []
        with selectors.DefaultSelector() as waiting:
            for sock in self._sockets:
                waiting.register(sock, selectors.EVENT_READ)
            while waiting.get_map() and (ready := waiting.select(GUARD_SECONDS)):
                for key, _ in ready:
                    waiting.unregister(key.fileobj)
                    assert isinstance(key.fileobj, socket.socket)
                    found.append(read_answer(self._question, key.fileobj.recv(4096)))
        for sock in self._sockets:
            sock.close()
        return found


def test_what_waits_for_a_worker_that_is_killed_is_answered_by_the_next(own: RunningServer) -> None:
    expected = registered(own)
    for kill in range(KILLS):
        worker = kill % 3
        wait_for(own.counters().ready, "all workers")
        pid = own.worker_pids[worker]
        stop(pid)  # idle: it has no question in its hands
        crowd = Crowd(own.dns, QUESTIONS // KILLS, fqdn("web"))
        os.kill(pid, signal.SIGKILL)
        answers = crowd.answers()
        assert len(answers) == QUESTIONS // KILLS, f"kill {kill}: {len(answers)} answers"
        assert set(answers) == {expected}


def test_a_killed_worker_loses_no_more_than_what_it_held(own: RunningServer) -> None:
    client = OneByOne(own.dns, fqdn("web"), registered(own))
    client.start()
    for kill in range(KILLS):
        client.until((kill + 1) * QUESTIONS // (KILLS + 1))
        row = kill % 3 + 1
        wait_for(lambda: own.counters().get(row, "ready"), "the worker")  # noqa: B023
        os.kill(own.worker_pids[kill % 3], signal.SIGKILL)
    client.until(QUESTIONS)
    client.finish()
    print(f"{client.asked} questions, {KILLS} kills of workers, {client.lost} lost in their hands")
    assert client.wrong == []
    assert client.lost <= KILLS


# Restarts: the last state answers before anybody can have loaded it


def test_a_restarted_server_answers_before_its_writer_runs(own: RunningServer) -> None:
    expected = registered(own)
    assert own.stop() == 0
    no_writer = (sys.executable, str(Path(__file__).with_name("no_writer.py")))
    restarted = RunningServer(workers=2, data=own.data, command=no_writer)
    restarted.launch()
    try:
        wait_for((own.data / ADDRESSES).exists, "the sockets")
        wait_for(lambda: all(restarted.worker_pids), "the workers")
        with Witness(restarted.dns, 2) as witness:
            assert set(witness.ask(fqdn("web")).values()) == {expected}
        assert restarted.counters().get(WRITER, "ready") == 0
    finally:
        restarted.close()
