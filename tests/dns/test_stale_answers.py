"""Own answers that are older than they should be say so, and are otherwise what they were."""

import random
from collections.abc import Iterator

import dns.edns
import dns.message
import pytest
from toolbox.answerer_harness import AnswererHarness, Z

from svcdns.dns.no_reply import NoReply
from svcdns.dns.stats import TCP, UDP

OWN = [
    (f"web.default.svc.{Z}", "A", 3),
    (f"db.default.svc.{Z}", "A", 3),
    (f"web.default.svc.{Z}", "MX", 3),
    (f"ext.default.svc.{Z}", "CNAME", 3),
    (f"inner.default.svc.{Z}", "A", 3),
    (f"nothing.default.svc.{Z}", "A", 19),
    (f"_http._tcp.web.default.svc.{Z}", "SRV", 3),
    (Z, "SOA", 3),
    ("1.2.3.10.in-addr.arpa", "PTR", 19),
]
OTHERS = [("example.org", "SOA"), ("nothing.example.org", "A"), ("elsewhere.info", "A")]


@pytest.fixture
def becoming_stale(shared_world: AnswererHarness) -> Iterator[None]:
    """Have both paths take their answers for old, once `set_stale` was called."""
    yield
    set_stale(shared_world, False)


def set_stale(world: AnswererHarness, is_stale: bool) -> None:
    for one in (world.answerer, world._in_python):
        one.set_stale(is_stale)


def both(world: AnswererHarness, query: dns.message.Message, transport: int = UDP) -> tuple[bytes, bytes]:
    """Return the reply to a question as ever, and while answers are old."""
    packet, replies = query.to_wire(), []
    for is_stale in (False, True):
        random.seed(7)
        set_stale(world, is_stale)
        reply = world.raw(packet, transport)
        assert not isinstance(reply, NoReply)
        replies.append(reply)
    return replies[0], replies[1]


@pytest.mark.parametrize("transport", [UDP, TCP])
@pytest.mark.parametrize(("name", "rrtype", "code"), OWN)
def test_an_own_answer_says_that_it_is_old_and_nothing_else_changes(
    shared_world: AnswererHarness, becoming_stale: None, name: str, rrtype: str, code: int, transport: int
) -> None:
    query = dns.message.make_query(name, rrtype, use_edns=0, payload=1232)
    plain, stale = both(shared_world, query, transport)
    assert stale == plain[:-2] + b"\0\6" + b"\0\x0f\0\2" + code.to_bytes(2)
    (option,) = dns.message.from_wire(stale).options
    assert isinstance(option, dns.edns.EDEOption) and option.code == code


@pytest.mark.parametrize(("name", "rrtype"), [(name, rrtype) for name, rrtype, _ in OWN])
def test_who_does_not_understand_options_is_answered_as_ever(
    shared_world: AnswererHarness, becoming_stale: None, name: str, rrtype: str
) -> None:
    plain, stale = both(shared_world, dns.message.make_query(name, rrtype))
    assert stale == plain


@pytest.mark.parametrize(("name", "rrtype"), OTHERS)
def test_what_is_not_the_registrys_is_as_ever(
    shared_world: AnswererHarness, becoming_stale: None, name: str, rrtype: str
) -> None:
    plain, stale = both(shared_world, dns.message.make_query(name, rrtype, use_edns=0))
    assert stale == plain


def test_no_answer_is_cut_for_it(shared_world: AnswererHarness, becoming_stale: None) -> None:
    seen = set()
    for payload in range(512, 900):
        query = dns.message.make_query(f"many.default.svc.{Z}", "SRV", use_edns=0, payload=payload)
        plain, stale = both(shared_world, query)
        assert stale in (plain, plain[:-2] + b"\0\6" + b"\0\x0f\0\2\0\3")
        assert len(stale) <= payload
        seen.add(stale == plain)
    assert seen == {True, False}
