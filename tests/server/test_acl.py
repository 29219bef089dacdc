"""[acl] on a whole server: each client is an address of loopback, and gets what its network may have."""

from collections.abc import Callable, Iterator

import dns.flags
import dns.query
import dns.rcode
import pytest
from dns.message import Message, make_query
from toolbox.running_server import RunningServer
from toolbox.upstreams import Unbound
from toolbox.waiting import GUARD_SECONDS, wait_for

OURS = "dns-version.cluster.local"
OTHERS = "www.example.org"
PROHIBITED = 18

CONFIG = """\
[acl]
names = ["loopback", "!127.0.1.0/24"]
forward = ["loopback", "!127.0.2.0/24", "127.0.2.9"]
transfer = ["127.0.3.0/24", "!127.0.3.9"]
[dns]
transfer_to = ["127.0.4.1"]
[forward]
upstreams = ["{}"]
"""


@pytest.fixture(scope="module")
def acl(need: Callable[..., str]) -> Iterator[RunningServer]:
    need("unbound")
    with (
        Unbound(tls=False, https=False) as upstream,
        RunningServer(config=CONFIG.format(upstream.address)) as one,
    ):
        wait_for(lambda: ask(one, "127.0.0.1", OTHERS).rcode() == dns.rcode.NOERROR, "the first answer")
        yield one


def ask(server: RunningServer, client: str, name: str, rrtype: str = "A", *, tcp: bool = False) -> Message:
    host, port = server.dns
    question = make_query(name, rrtype, use_edns=0)
    send = dns.query.tcp if tcp else dns.query.udp
    return send(question, host, port=port, source=client, timeout=GUARD_SECONDS)


def said(reply: Message) -> tuple[str, list[int], bool]:
    """Return the rcode, the Extended DNS Errors, and whether recursion is available."""
    codes = [int(option.code) for option in reply.extended_errors()]
    return dns.rcode.to_text(reply.rcode()), codes, bool(reply.flags & dns.flags.RA)


@pytest.mark.parametrize("tcp", [False, True])
@pytest.mark.parametrize(
    ("client", "names", "forward"),
    [
        ("127.0.0.1", True, True),
        ("127.0.1.1", False, True),
        ("127.0.2.1", True, False),
        ("127.0.2.9", True, True),
        ("127.0.3.1", True, True),
    ],
)
def test_each_network_gets_what_it_may_have(
    acl: RunningServer, client: str, names: bool, forward: bool, tcp: bool
) -> None:
    refused = ("REFUSED", [PROHIBITED], forward)
    for name, rrtype, may in ((OURS, "TXT", names), (OTHERS, "A", forward)):
        for _ in range(3):  # what is remembered of a client is no less strict
            expected = ("NOERROR", [], forward) if may else refused
            assert said(ask(acl, client, name, rrtype, tcp=tcp)) == expected, name


@pytest.mark.parametrize(
    ("client", "may"),
    [("127.0.3.1", True), ("127.0.4.1", True), ("127.0.3.9", False), ("127.0.0.1", False)],
)
def test_zones_are_transferred_to_either_list(acl: RunningServer, client: str, may: bool) -> None:
    reply = ask(acl, client, "cluster.local", "AXFR", tcp=True)
    assert (reply.rcode() == dns.rcode.NOERROR) is may
    assert bool(reply.answer) is may


def test_an_open_resolver_is_told_of_at_the_start() -> None:
    config = "[acl]\nforward = ['any']\n[forward]\nupstreams = ['127.0.0.1:1']\n"
    with RunningServer(workers=1, config=config) as server:
        assert "acl.forward: allows 0.0.0.0/0, ::/0, beyond private networks: whoever" in server.log()
