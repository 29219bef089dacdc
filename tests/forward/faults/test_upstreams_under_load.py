"""Upstreams and the forwarder that die, come back and go mad while clients ask for names of both kinds.

Every name outside is asked for once, so each costs a question upstream.  At all times: own names are
answered at the first try and rightly, names outside rightly or with SERVFAIL, and nobody waits so long that
a stub resolver would ask again.
"""

import os
import signal
import time
from collections.abc import Callable, Iterator

import pytest
from forward.behaviour.expecting import WEB_NAME, forwarder_pid, to
from forward.faults.stub_clients import RESOLVER_SECONDS, Clients, Question, Result, ask, serve
from toolbox.misbehaving import Misbehaving
from toolbox.running_server import RunningServer
from toolbox.stopping import stop
from toolbox.upstreams import Unbound
from toolbox.waiting import wait_for

OWN = ["10.96.0.10"]
REACHABLE, FORWARDER_DOWN = 22, 23
"""EDE of a failure for which an upstream, or the forwarder, is to blame (RFC 8914)."""
RESTARTS = 3
KILLS = 8
MORE = 60
"""Answers that are waited for between two faults."""


def mixed(number: int) -> Question:
    """Return one own name for two outside, every fifth question over TCP."""
    tcp = number % 5 == 0
    return Question(WEB_NAME if number % 3 == 0 else f"n{number}.load.example", tcp=tcp)


def is_own(result: Result) -> bool:
    return result.question.name == WEB_NAME


def is_outside(result: Result) -> bool:
    return not is_own(result)


def is_answer(result: Result) -> bool:
    """Say whether a name outside was answered."""
    return is_outside(result) and result.said == "NOERROR" and not result.cut


def is_failure(result: Result) -> bool:
    """Say whether a name outside was not answered, and the client told so."""
    return is_outside(result) and (result.failed_clearly or result.cut)


def check(results: list[Result], outside: list[str], *blame: int, tries: int = 1) -> None:
    """Check all results; a failure outside has one of these EDEs."""
    for result in results:
        if is_own(result):
            assert (result.said, result.data, result.tries) == ("NOERROR", OWN, 1), result
        else:
            assert result.tries <= tries, result
            if result.said == "NOERROR":
                assert result.data == outside or result.cut, result
            else:
                assert result.failed_clearly, result
                assert result.errors in [[code] for code in blame], result
        if result.tries == 1:
            assert result.seconds < RESOLVER_SECONDS, result


def told(results: list[Result], what: str) -> None:
    """Print what a run was like (pytest -s)."""
    outside = list(filter(is_outside, results))
    answered = sum(map(is_answer, outside))
    slowest = max(result.seconds for result in outside)
    own = max(result.seconds for result in results if is_own(result))
    again = sum(result.tries > 1 for result in outside)
    print(
        f"{what}: {len(results)} questions, outside {answered} answers, {len(outside) - answered} failures, "
        f"{again} asked twice, slowest {slowest:.2f} s; own names at most {1000 * own:.0f} ms"
    )


@pytest.fixture
def real(need: Callable[..., str]) -> Iterator[Unbound]:
    need("unbound")
    with Unbound("*.example. 300 IN A 192.0.2.10", tls=False, https=False) as running:
        yield running


def test_an_upstream_that_is_killed_and_comes_back_needs_no_restart_here(real: Unbound) -> None:
    with to(real.address) as server:
        serve(server)
        with Clients(server.dns, mixed) as clients:
            for _ in range(RESTARTS):
                clients.until(MORE, is_answer)
                real.stop()
                clients.until(4, is_failure)
                real.start()
            clients.until(MORE, is_answer)
        told(clients.results, f"an upstream killed {RESTARTS} times")
        check(clients.results, ["192.0.2.10"], REACHABLE)
        counters = server.counters()
        assert counters.get(counters.forwarder, "restarts") == 0


def test_an_upstream_that_hangs_and_goes_on_needs_no_restart_here(real: Unbound) -> None:
    with to(real.address) as server:
        serve(server)
        with Clients(server.dns, mixed, number=12) as clients:
            clients.until(MORE, is_answer)
            stop(real.pid)
            try:
                clients.until(4, is_failure)
            finally:
                os.kill(real.pid, signal.SIGCONT)
            clients.until(MORE, is_answer)
        told(clients.results, "an upstream that hung")
        check(clients.results, ["192.0.2.10"], REACHABLE)


def test_while_one_of_two_is_killed_again_and_again_every_question_is_answered(real: Unbound) -> None:
    with (
        Misbehaving("answers") as mortal,
        RunningServer(
            config=f'[forward]\nupstreams = ["{mortal.address}", "{real.address}"]\npolicy = "round_robin"\n'
        ) as server,
    ):
        serve(server)
        with Clients(server.dns, mixed) as clients:
            for _ in range(RESTARTS):
                clients.until(MORE, is_answer)
                mortal.stop()
                clients.until(MORE, is_answer)
                mortal.start()
            clients.until(MORE, is_answer)
        told(clients.results, f"one of two upstreams killed {RESTARTS} times")
        for result in clients.results:
            expected = (OWN,) if is_own(result) else (["192.0.2.10"], ["192.0.2.7"])
            assert result.said == "NOERROR", result
            assert result.data in expected, result
            assert (result.tries, result.seconds < RESOLVER_SECONDS) == (1, True), result


def test_an_upstream_that_goes_mad_and_recovers() -> None:
    with Misbehaving("answers") as upstream, to(upstream.address) as server:
        serve(server)
        with Clients(server.dns, mixed, number=12) as clients:
            for madness in ("garbage", "wrong_id", "wrong_question", "servfail", "truncated_only", "dribble"):
                clients.until(20, is_answer)
                upstream.behaviour = madness
                clients.until(4, is_failure)
                upstream.behaviour = "answers"
            clients.until(MORE, is_answer)
        told(clients.results, "an upstream that went mad six times")
        check(clients.results, ["192.0.2.7"], REACHABLE)
        assert "Traceback" not in server.log()


@pytest.mark.alone
def test_a_forwarder_that_is_killed_in_a_loop_costs_own_names_nothing(real: Unbound) -> None:
    """A question that it had in its hands dies with it; the client's second try is answered.

    From its fifth death within ten seconds on it is started again after a growing pause.
    """
    with to(real.address) as server:
        serve(server)
        counters = server.counters()
        with Clients(server.dns, mixed, number=12) as clients:
            for kill in range(KILLS):
                clients.until(MORE, is_own)
                os.kill(forwarder_pid(server), signal.SIGKILL)
                wait_for(lambda: counters.get(counters.forwarder, "restarts") > kill, "another forwarder")  # noqa: B023
            clients.until(MORE, is_answer)
        told(clients.results, f"the forwarder killed {KILLS} times")
        check(clients.results, ["192.0.2.10"], REACHABLE, FORWARDER_DOWN, tries=2)
        assert all(result.said for result in clients.results), "no reply at the second try"
        wait_for(counters.ready, "the server to be ready again")
        begun = time.monotonic()
        assert ask(server.dns, Question("after.load.example")).data == ["192.0.2.10"]
        assert time.monotonic() - begun < RESOLVER_SECONDS
