"""A resolver that we forward to, and that forwards our reverse zones to us: the usual set-up of a company.

    client -> svcdns -> the company's unbound -(11.in-addr.arpa)-> svcdns

What neither knows would go to and fro; it is answered at once, and the log says what is wrong.
"""

import contextlib
import time
from collections.abc import Iterator

import dns.message
import dns.query
import dns.rcode
import pytest
from forward.hosts.expectations import OUTSIDE_ADDRESSES, RECORDS
from forward.hosts.laboratory import Laboratory
from forward.hosts.lookups import AT_ONCE
from forward.hosts.resolvers import svcdns
from toolbox.hosts import Host
from toolbox.running_server import RunningServer
from toolbox.upstreams import Unbound

SERVER = "10.99.0.1"


class Company(Unbound):
    """It answers the network on port 53, knows names itself, and forwards our zones to us."""

    def __init__(self) -> None:
        super().__init__(RECORDS, tls=False, https=False, host=SERVER)  # whose questions it counts

    def _configure(self) -> list[str]:
        file = self.folder / "unbound.conf"
        file.write_text(
            "server:\n"
            f'  directory: "{self.folder}"\n  chroot: ""\n  username: ""\n  pidfile: ""\n'
            '  use-syslog: no\n  logfile: ""\n  verbosity: 1\n  log-queries: yes\n'
            "  do-daemonize: no\n  num-threads: 1\n"
            "  interface: 0.0.0.0@53\n  access-control: 0.0.0.0/0 allow\n"
            '  module-config: "iterator"\n  unblock-lan-zones: yes\n  insecure-lan-zones: yes\n'
            "remote-control:\n  control-enable: no\n"
            f'forward-zone:\n  name: "10.in-addr.arpa"\n  forward-addr: {SERVER}\n'
            f'forward-zone:\n  name: "11.in-addr.arpa"\n  forward-addr: {SERVER}\n'
            'auth-zone:\n  name: "."\n  zonefile: "root.zone"\n'
            "  for-downstream: no\n  for-upstream: yes\n  fallback-enabled: no\n"
        )
        return ["-d", "-p", "-c", str(file)]


class Hosts:
    """The network: our server, the company's resolver, and a client."""

    def __init__(self, client: Host, server: RunningServer, company: Unbound, resolver: str) -> None:
        self._client = client
        self.server = server
        self.company = company
        self.resolver = resolver
        """The company's address."""

    def ask(self, name: str, rrtype: str = "PTR", *, at: str = SERVER) -> tuple[dns.message.Message, float]:
        """Ask from the client's host; return the reply and the seconds that it took."""
        with self._client.entered():
            start = time.monotonic()
            reply = dns.query.udp(dns.message.make_query(name, rrtype, use_edns=0), at, timeout=30)
        return reply, time.monotonic() - start


@pytest.fixture(scope="module")
def hosts(may_make_hosts: None) -> Iterator[Hosts]:
    with Laboratory(ipv6=False) as laboratory, contextlib.ExitStack() as stack:
        there, client = laboratory.host(ndots=1), laboratory.host(ndots=1)
        with there.entered():
            company = stack.enter_context(Company())
        server = stack.enter_context(svcdns(laboratory, [there.address]))
        yield Hosts(client, server, company, there.address)


def said(reply: dns.message.Message) -> str:
    return dns.rcode.to_text(reply.rcode())


def warnings(hosts: Hosts) -> list[str]:
    return [line for line in hosts.server.log().splitlines() if "a partial forwarding loop" in line]


def test_what_nobody_knows_is_said_at_once(hosts: Hosts) -> None:
    for number in range(1, 6):
        name = f"{number}.3.2.11.in-addr.arpa"
        reply, seconds = hosts.ask(name)
        assert (said(reply), seconds < AT_ONCE) == ("NXDOMAIN", True), (reply, seconds)
        assert hosts.company.queries(f"{name}.", "PTR"), "it has been asked"


def test_so_it_is_at_the_resolver(hosts: Hosts) -> None:
    """It joins our question to its own and asks us once more after its own time."""
    reply, seconds = hosts.ask("1.4.2.11.in-addr.arpa", at=hosts.resolver)
    assert said(reply) == "NXDOMAIN"
    assert seconds < AT_ONCE


def test_the_log_says_so_once(hosts: Hosts) -> None:
    hosts.ask("1.5.2.11.in-addr.arpa")
    (line,) = warnings(hosts)
    assert f"upstream {hosts.resolver} sends questions for names in our zone in-addr.arpa. that" in line


def test_all_else_is_as_ever(hosts: Hosts) -> None:
    for _ in ("asked", "from the cache"):
        reply, _ = hosts.ask("www.example.com", "A")
        (rrset,) = reply.answer
        assert {rdata.to_text() for rdata in rrset} <= OUTSIDE_ADDRESSES["www.example.com"]
        assert said(hosts.ask("nosuch.example.com", "A")[0]) == "NXDOMAIN"
    for where in (SERVER, hosts.resolver):
        reply, _ = hosts.ask("80.0.96.10.in-addr.arpa", at=where)
        assert [rdata.to_text() for rdata in reply.answer[0]] == ["web.default.svc.cluster.local."]
