"""Upstreams that are broken: alone they cost a clear failure in time, beside a good one nothing but time.

    BEHAVIOUR.alone.example            asked at the broken one
    BEHAVIOUR.POLICY.beside.example    asked at the broken one and at a real one, by that policy

All questions are asked at once, once by the fixture; each test looks at its share.  What the good one says
differs from what the broken ones would say, and nobody's answer may stand under another name.
"""

import contextlib
from collections.abc import Callable, Iterator

import pytest
from forward.faults.stub_clients import RESOLVER_SECONDS, Question, Result, ask, ask_all, serve
from toolbox.misbehaving import Misbehaving
from toolbox.running_server import RunningServer
from toolbox.upstreams import Unbound
from toolbox.waiting import wait_for

from svcdns.dns.forward_link import GIVEN_UP_SECONDS

GOOD, BROKEN = ["192.0.2.10"], ["192.0.2.7"]
USELESS = (
    "silent",
    "garbage",
    "wrong_id",
    "wrong_question",
    "slow",
    "servfail",
    "refused",
)
"""No answer can be had of them, or none in time."""
CUT = ("truncated_only", "dribble")
"""They say over UDP that there is more, and don't give it over TCP."""
ODD = ("spoofed", "truncated", "huge", "formerr_on_edns", "notimp_on_edns")
"""Their answer can be had, by those who take care."""
POLICIES = ("sequential", "round_robin", "random")
EACH = 3
"""Questions over UDP for each zone; one more is asked over TCP."""
REACHABLE, FORWARDER_LATE = 22, 23
"""EDEs: no reachable upstream, network error (RFC 8914 sections 4.23 and 4.24)."""


def zone(*parts: str) -> str:
    return ".".join(parts).replace("_", "-") + ".example"


def configuration(broken: dict[str, Misbehaving], good: Unbound) -> Iterator[str]:
    yield f'[forward]\nupstreams = ["{good.address}"]\n'
    for how, upstream in broken.items():
        yield f'[[forward.zone]]\nname = "{zone(how, "alone")}"\nupstreams = ["{upstream.address}"]\n'
        for policy in POLICIES:
            yield (
                f'[[forward.zone]]\nname = "{zone(how, policy, "beside")}"\npolicy = "{policy}"\n'
                f'upstreams = ["{upstream.address}", "{good.address}"]\n'
            )


def questions(zones: list[str]) -> Iterator[Question]:
    for one in zones:
        for number in range(EACH):
            yield Question(f"n{number}.{one}")
        yield Question(f"tcp.{one}", tcp=True)


@pytest.fixture(scope="module")
def good(need: Callable[..., str]) -> Iterator[Unbound]:
    need("unbound")
    with Unbound(f"*.example. 300 IN A {GOOD[0]}", tls=False, https=False) as running:
        yield running


@pytest.fixture(scope="module")
def broken() -> Iterator[dict[str, Misbehaving]]:
    with contextlib.ExitStack() as stack:
        yield {how: stack.enter_context(Misbehaving(how)) for how in (*USELESS, *CUT, *ODD)}


@pytest.fixture(scope="module")
def server(broken: dict[str, Misbehaving], good: Unbound) -> Iterator[RunningServer]:
    with RunningServer(config="".join(configuration(broken, good))) as running:
        yield running


@pytest.fixture(scope="module")
def results(server: RunningServer) -> dict[str, list[Result]]:
    """By zone: those of a first round, in which broken ones pass for good, and of a second one."""
    serve(server)
    zones = [zone(how, "alone") for how in (*USELESS, *CUT, *ODD)]
    zones += [zone(how, policy, "beside") for how in (*USELESS, *CUT) for policy in POLICIES]
    found: dict[str, list[Result]] = {one: [] for one in zones}
    for name in ("", "again-"):
        asked = [Question(name + one.name, one.rrtype, one.tcp) for one in questions(zones)]
        for result in ask_all(server.dns, asked):
            found[result.question.name.partition(".")[2]].append(result)
    return found


def says_why(result: Result) -> bool:
    """Say whether a failure is clear.

    A worker says of a forwarder that it is late: for TCP it waits 0.2 s longer than that one for upstreams.
    """
    is_given_up = result.question.tcp and result.seconds > GIVEN_UP_SECONDS
    known = ([REACHABLE], [FORWARDER_LATE]) if is_given_up else ([REACHABLE],)
    return result.failed_clearly and result.errors in known


@pytest.mark.parametrize("how", USELESS)
def test_alone_it_costs_a_clear_failure_in_time(results: dict[str, list[Result]], how: str) -> None:
    for result in results[zone(how, "alone")]:
        assert says_why(result), result
        assert result.seconds < RESOLVER_SECONDS, result


@pytest.mark.parametrize("how", CUT)
def test_what_is_cut_is_handed_on_as_cut(results: dict[str, list[Result]], how: str) -> None:
    """It has no record, so it is no wrong answer: clients come over TCP."""
    for result in results[zone(how, "alone")]:
        if not result.question.tcp:
            assert result.cut, result
            assert result.seconds < RESOLVER_SECONDS, result


@pytest.mark.parametrize("how", CUT)
def test_over_tcp_what_is_cut_is_a_clear_failure(results: dict[str, list[Result]], how: str) -> None:
    for result in results[zone(how, "alone")]:
        if result.question.tcp:
            assert says_why(result), result


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("how", [*USELESS, *CUT])
def test_beside_a_good_one_every_question_is_answered(
    results: dict[str, list[Result]], how: str, policy: str
) -> None:
    for result in results[zone(how, policy, "beside")]:
        assert (result.said, result.data) == ("NOERROR", GOOD), result
        assert result.seconds < RESOLVER_SECONDS, result


@pytest.mark.parametrize("how", [how for how in ODD if how != "huge"])
def test_an_odd_one_is_understood(results: dict[str, list[Result]], how: str) -> None:
    for result in results[zone(how, "alone")]:
        assert (result.said, result.data) == ("NOERROR", BROKEN), result
        assert result.seconds < RESOLVER_SECONDS, result


def test_sixty_kilobytes_come_whole_over_tcp_and_cut_over_udp(server: RunningServer) -> None:
    name = zone("huge", "alone")
    for _ in ("asked", "from the cache"):
        whole = ask(server.dns, Question(f"text.{name}", "TXT", tcp=True))
        assert (whole.said, len(whole.data)) == ("NOERROR", 227), whole
        assert sum(map(len, whole.data)) > 55_000
        cut = ask(server.dns, Question(f"text.{name}", "TXT"))
        assert cut.said == "NOERROR", cut
        assert cut.reply is not None
        assert "TC" in cut.reply.flags.name, "the client has to come over TCP"


def test_they_are_known_for_what_they_are(server: RunningServer, results: dict[str, list[Result]]) -> None:
    """Metrics tell which upstream is broken, and nothing that any of them sent broke the forwarder."""
    assert results
    for how in ("garbage", "wrong_id", "wrong_question"):
        labels = ("svcdns_upstream_questions_total{", f'zone="{zone(how, "alone")}', 'outcome="garbage"')

        def counted(labels: tuple[str, ...] = labels) -> bool:
            lines = [
                line for line in server.get("/metrics").text.splitlines() if line.startswith("svcdns_up")
            ]
            return any(float(line.split()[-1]) > 0 for line in lines if all(part in line for part in labels))

        wait_for(counted, f"the metric of {how}")
    assert "Traceback" not in server.log()
    counters = server.counters()
    assert counters.get(counters.forwarder, "restarts") == 0
