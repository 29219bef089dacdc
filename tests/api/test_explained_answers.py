"""What GET /svcdns/v1/explain says a client is answered is what UDP answers that client, and it says why."""

import random
import socket
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlencode

import pytest
from toolbox.builders import headless, pod, service
from toolbox.running_server import RunningServer, svcdns
from toolbox.upstreams import Unbound
from toolbox.waiting import GUARD_SECONDS, wait_for

from svcdns.api.explained_answer import question
from svcdns.wire.dig_text import dig_text, read_reply

ALL, NAMES_ONLY, NOBODY = "127.0.0.1", "127.0.0.9", "127.0.0.8"
"""Clients: who may ask for everything, for our names alone, for nothing."""
CONFIG = f"""
[forward]
upstreams = ["{{upstream}}"]
[acl]
forward = ["loopback", "!{NAMES_ONLY}", "!{NOBODY}"]
names = ["any", "!{NOBODY}"]
[dns]
zones = "zones"
fallthrough = ["10.in-addr.arpa"]
reverse_zones = ["10.in-addr.arpa"]
[services]
cluster_ip_ranges = ["10.96.0.0/16"]
"""
ZONE = """$TTL 300
$ORIGIN site.test.
@ SOA ns hostmaster (
    1 7200
    1800 86400 30 )
@ NS ns
ns A 192.0.2.1
www A 192.0.2.80
    AAAA 2001:db8::80
*.wild TXT "anything"
out CNAME www.example.org.
in CNAME web.default.svc.cluster.local.
sub NS ns.sub
ns.sub A 192.0.2.2
old DNAME wild
"""
TYPES = ("A", "AAAA", "SRV", "TXT", "PTR", "CNAME", "SOA", "NS", "DS", "ANY", "AXFR", "HTTPS", "TYPE65280")


@pytest.fixture(scope="module")
def server(need: Callable[..., str]) -> Iterator[RunningServer]:
    need("unbound")
    with Unbound(tls=False, https=False) as upstream:
        made = RunningServer(config=CONFIG.format(upstream=upstream.address))
        (made.folder / "zones").mkdir()
        (made.folder / "zones" / "site.test.zone").write_text(ZONE)
        with made:
            fill(made)
            yield made


def fill(server: RunningServer) -> None:
    where = "/api/v1/namespaces/default"
    for body in (
        service("web", clusterIP="10.96.0.80"),
        headless("db"),
        headless("many"),
        {"metadata": {"name": "away"}, "spec": {"type": "ExternalName", "externalName": "www.example.org"}},
    ):
        assert server.post(f"{where}/services", body).status == 201
    pods = [pod("db-1", "10.1.0.1", "db"), *(pod(f"m-{n}", f"10.2.0.{n}", "many") for n in range(1, 120))]
    for body in pods:
        assert server.post(f"{where}/pods", body).status == 201
    wait_for(lambda: server.answers("www.site.test"), "the zone file")


def explained(server: RunningServer, name: str, **query: Any) -> Any:
    answer = server.get(f"/svcdns/v1/explain?{urlencode({'name': name, **query})}")
    assert answer.status == 200, answer.text
    return answer.json


def over_udp(server: RunningServer, packet: bytes, client: str) -> bytes:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.bind((client, 0))
        asking.settimeout(GUARD_SECONDS)
        asking.connect(server.dns)
        asking.send(packet)
        return asking.recv(4096)


def comparable(text: str) -> list[str]:
    """Return the lines of a reply without what chance or a pace decides: the order, which RRs have room."""
    if ";; flags: qr aa tc" in text or " tc " in text.splitlines()[1]:
        return text.splitlines()[:2]
    return sorted(line for line in text.splitlines() if not line.startswith("; EDE 0"))


def names(chance: random.Random) -> str:
    """Return a name that somebody might ask for."""
    service_name = chance.choice(
        ["web", "db", "many", "away", "none", "m-7.many", "_http._tcp.web", "_x.web"]
    )
    front = chance.choice(["", "", "", "WwW.", "a.b."])
    return front + chance.choice(
        [
            f"{service_name}.default.svc.cluster.local.",
            f"{service_name}.default.cluster.local.",
            f"{service_name}.none.svc.cluster.local.",
            "cluster.local.",
            "10-1-0-1.default.pod.cluster.local.",
            f"{chance.choice(['www', 'out', 'in', 'x.wild', 'sub', 'x.sub', 'x.old', 'no'])}.site.test.",
            "site.test.",
            f"{chance.choice(['www', 'alias', 'dangling', 'mail', 'many', 'nothing'])}.example.org.",
            "localhost.",
            f"{chance.randrange(4)}.0.1.10.in-addr.arpa.",
            "80.0.96.10.in-addr.arpa.",
            "7.1.168.192.in-addr.arpa.",
            "x.onion.",
            "local.",
        ]
    )


def check_case(server: RunningServer, chance: random.Random) -> str:
    """Compare one random case; return where its answer came from."""
    name, rrtype = names(chance), chance.choice(TYPES)
    client = chance.choice([ALL, ALL, NAMES_ONLY, NOBODY])
    asking = {"type": rrtype, "client": client}
    found = explained(server, name, **asking)
    number = 65280 if rrtype == "TYPE65280" else read_type(rrtype)
    reply = over_udp(server, question(found["name"], number), client)
    said = dig_text(read_reply(reply))
    if found["response"] is None:
        assert found["origin"]["source"] == "forward"
        found = explained(server, name, **asking)  # in the cache by now, unless that keeps no such thing
        if found["response"] is None:
            return "forward"
    for _ in range(30):
        if comparable(found["response"]) == comparable(said):
            break
        # A TTL may have gone down between the two.
        said = dig_text(read_reply(over_udp(server, question(found["name"], number), client)))
        found = explained(server, name, **asking)
    assert comparable(found["response"]) == comparable(said), (name, rrtype, client)
    return str(found["origin"]["source"])


def read_type(text: str) -> int:
    from dns import rdatatype

    return int(rdatatype.from_text(text))


@pytest.mark.parametrize("cases", [300, pytest.param(10_000, marks=pytest.mark.soak)])
def test_the_response_is_what_udp_says_to_that_client(server: RunningServer, cases: int) -> None:
    chance = random.Random(cases)
    sources = {check_case(server, chance) for _ in range(cases)}
    assert sources >= {"own", "zone", "cache", "none", "forward"}


@pytest.mark.parametrize(
    ("name", "query", "expected"),
    [
        ("web", {}, {"source": "own", "zone": "cluster.local."}),
        ("www.site.test", {}, {"source": "zone", "file": "site.test.zone", "line": 8}),
        ("www.site.test", {"type": "AAAA"}, {"source": "zone", "line": 9}),
        ("x.wild.site.test", {"type": "TXT"}, {"source": "zone", "line": 10}),
        ("out.site.test", {}, {"zone": "site.test.", "line": 11}),
        ("no.site.test", {}, {"source": "zone", "line": 3, "ended": "zone site.test. has no such name"}),
        ("web", {"type": "TXT"}, {"ended": "the name is there, and has nothing of type TXT"}),
        ("x.localhost", {}, {"source": "forward", "ended": "localhost. is a special-use name"}),
        ("web", {"client": NOBODY}, {"source": "none", "ended": f"acl.names refuses {NOBODY}"}),
        ("www.example.net", {"client": NAMES_ONLY}, {"source": "none", "ended": "acl.forward refuses"}),
        ("www.site.test", {"type": "AXFR"}, {"source": "none", "ended": "over TCP"}),
        ("www.example.net.default.svc", {}, {"source": "own", "ended": "what a search list leaves over"}),
        (
            "9.9.9.10.in-addr.arpa",
            {"type": "PTR"},
            {"zone": "10.in-addr.arpa.", "ended": "leaves it to upstreams"},
        ),
        ("x.sub.site.test", {}, {"file": "site.test.zone", "line": 13, "ended": "leaves it to upstreams"}),
        ("80.0.96.10.in-addr.arpa", {"type": "PTR"}, {"source": "own"}),
        ("db-9.db.default.svc", {}, {"ended": "zone cluster.local. has no such name"}),
    ],
)
def test_it_says_where_the_answer_comes_from(
    server: RunningServer, name: str, query: dict[str, str], expected: dict[str, Any]
) -> None:
    origin = explained(server, name, **query)["origin"]
    for key, value in expected.items():
        said = origin.get(key)
        assert value in said if key == "ended" else said == value, origin


def test_upstreams_are_named_and_asked_only_where_that_is_wanted(server: RunningServer) -> None:
    name = "www.example.org"
    assert server.delete(f"/cache/{name}").status == 200
    wait_for(lambda: explained(server, name)["origin"].get("upstreams"), "the forwarder's status")
    found = explained(server, name)
    assert (found["rcode"], found["response"], found["origin"]["source"]) == (None, None, "forward")
    asked = explained(server, name, forward=1)
    assert asked["rcode"] == "NOERROR"
    assert "192.0.2.10" in asked["response"]
    cached = explained(server, name)
    assert cached["origin"]["source"] == "cache"
    assert cached["origin"]["age"] + cached["origin"]["ttl"] == 300


def test_the_search_list_of_a_pod_is_walked(server: RunningServer) -> None:
    found = explained(server, "db", search=1)
    assert found["search"] == [{"name": "db.default.svc.cluster.local.", "rcode": "NOERROR", "source": "own"}]
    assert "10.1.0.1" in found["response"]
    outside = explained(server, "www.example.org", search=1, forward=1)
    assert [step["name"] for step in outside["search"]] == [
        "www.example.org.default.svc.cluster.local.",
        "www.example.org.svc.cluster.local.",
        "www.example.org.cluster.local.",
        "www.example.org.",
    ]
    assert (outside["rcode"], outside["name"]) == ("NOERROR", "www.example.org.")
    assert len(explained(server, "db.", search=1)["search"]) == 1


def test_it_reads_as_dig_prints(server: RunningServer) -> None:
    lines = explained(server, "web")["response"].splitlines()
    assert lines[0] == ";; ->>HEADER<<- opcode: QUERY, status: NOERROR"
    assert lines[1] == ";; flags: qr aa rd ra; QUERY: 1, ANSWER: 1, AUTHORITY: 0, ADDITIONAL: 1"
    assert ";web.default.svc.cluster.local. IN A" in lines
    assert lines[-1] == "web.default.svc.cluster.local. 5 IN A 10.96.0.80"


def test_a_pod_has_no_response(server: RunningServer) -> None:
    found = explained(server, "db-1")
    assert (found["objects"][0], found["response"], found["rcode"]) == ("Pod default/db-1", None, None)


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"type": "NOTYPE"}, "type"),
        ({"type": "\0" * 99}, "type"),
        ({"type": "TYPE65536"}, "type"),
        ({"client": "nobody"}, "client"),
        ({"client": "1" * 99}, "client"),
        ({"search": "perhaps"}, "search"),
        ({"forward": "perhaps"}, "forward"),
    ],
)
def test_what_cannot_be_asked_is_refused(server: RunningServer, query: dict[str, str], field: str) -> None:
    answer = server.get(f"/svcdns/v1/explain?{urlencode({'name': 'web', **query})}")
    assert (answer.status, answer.json["message"].partition(":")[0]) == (400, field)


def test_the_command_shows_the_reply_and_its_origin(server: RunningServer) -> None:
    shown = svcdns("why", "www.site.test", "--type", "AAAA", "--api", server.api)
    assert shown.returncode == 0, shown.stderr
    assert "out of zone site.test., site.test.zone:9" in shown.stdout
    assert "www.site.test. 300 IN AAAA 2001:db8::80" in shown.stdout
    refused = svcdns("why", "web", "--client", NOBODY, "--search", "--api", server.api)
    assert refused.returncode == 1
    assert f"acl.names refuses {NOBODY}" in refused.stdout
    assert "asks for web.default.svc.cluster.local.  REFUSED" in refused.stdout
    wrong = svcdns("why", "web", "--type", "NOTYPE", "--api", server.api)
    assert (wrong.returncode, wrong.stdout) == (2, "")


def test_a_server_without_upstreams_says_that_there_are_none() -> None:
    with RunningServer(workers=1) as alone:
        origin = explained(alone, "www.example.com")["origin"]
        assert origin["source"] == "none"
        assert origin["ended"] == "it is no name of ours, and no upstream is configured for it"
