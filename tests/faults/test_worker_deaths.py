"""Five deaths of a worker within ten seconds: it is given up, and the others answer for it."""

import os
import signal

from toolbox.calls import Calls, fqdn
from toolbox.running_server import RunningServer
from toolbox.waiting import wait_for
from toolbox.witness import address, connected, identity, make_question, read_answer, there

MANY = 100
DEATHS = 5


def test_a_worker_that_keeps_dying_is_given_up_and_no_question_with_it() -> None:
    with RunningServer(workers=2) as server:
        calls = Calls(server.api)
        expected = there(address(calls.create_service("web")["spec"]["clusterIP"]))
        counters = server.counters()
        for _ in range(DEATHS):
            wait_for(lambda: server.worker_pids[0], "worker 0")
            pid = server.worker_pids[0]
            os.kill(pid, signal.SIGKILL)
            wait_for(lambda: server.worker_pids[0] != pid, "its death to be seen")  # noqa: B023
        wait_for(lambda: counters.get(1, "given_up"), "worker 0 to be given up")
        question = make_question(fqdn("web"))
        wait_for(lambda: "given up" in server.log(), "the log line")
        for _ in range(MANY):
            with connected(server.dns) as sock:
                assert identity(sock) == "worker-1"
                sock.send(question)
                assert read_answer(question, sock.recv(4096)) == expected
        ready = server.get("/readyz")
        assert ready.status == 503
        assert "dns worker 0 died too often and was given up" in ready.text
        assert server.answers(fqdn("web"), tcp=True)
        calls.create_service("still-writable")
        assert server.answers(fqdn("still-writable"))
