"""Replies of upstreams: whom an answer may speak of, and where the pointers of names may lead."""

import struct
import time
from itertools import pairwise

import dns.message
import dns.rdatatype
import pytest
from msgspec.structs import replace
from toolbox.upstream_messages import NAME, SOA, agree, ask_for, pointer, raw, received, reply, rr, rrset

from svcdns.wire.garbage import Garbage
from svcdns.wire.response import Response

END = 12 + len(ask_for().name) + 4

# Whom an answer speaks of

W, T, U = "www.example.net.", "t.example.net.", "u.example.com."
TO_T, T_TO_U = f"{NAME} 100 IN CNAME {T}", f"{T} 100 IN CNAME {U}"
V = "www.example.com."
W_TO_V, A_OF_V = f"{W} 9 IN CNAME {V}", f"{V} 9 IN A 192.0.2.1"
DNAME, TO_W = "org. 9 IN DNAME net.", f"{NAME} 9 IN CNAME {W}"
A_OF_W, A_OF_T, A_OF_U = f"{W} 9 IN A 192.0.2.1", f"{T} 300 IN A 192.0.2.1", f"{U} 300 IN A 192.0.2.1"
SIGNATURE = "8 3 300 20300101000000 20200101000000 1 example.net. AAAA"


@pytest.mark.parametrize(
    ("answers", "rrtype", "answered"),
    [
        ((TO_T, A_OF_T), "A", True),
        ((A_OF_T, TO_T), "A", True),
        ((TO_T, T_TO_U, A_OF_U), "A", True),
        ((A_OF_U, T_TO_U, TO_T), "A", True),
        ((TO_T.upper(), A_OF_T), "A", True),
        ((f"{NAME} 9 IN RRSIG CNAME {SIGNATURE}", TO_T, A_OF_T, f"{T} 9 IN RRSIG A {SIGNATURE}"), "A", True),
        ((DNAME, TO_W, A_OF_W), "A", True),
        ((DNAME, f"org. 9 IN RRSIG DNAME {SIGNATURE}", TO_W, A_OF_W), "A", True),
        ((TO_W, "net. 9 IN DNAME com.", W_TO_V, A_OF_V), "A", True),
        ((f"{NAME} 9 IN RRSIG CNAME {SIGNATURE}", f"{NAME} 9 IN RRSIG NSEC {SIGNATURE}"), "RRSIG", True),
        ((f"{NAME} 9 IN A 192.0.2.1", f"{NAME} 9 IN NSEC a. CNAME"), "ANY", True),
        ((TO_T,), "CNAME", True),
        # not where the chain ends
        ((TO_T,), "A", False),
        ((TO_T, T_TO_U), "A", False),
    ],
)
def test_an_answer_is_what_stands_where_the_cnames_end(
    answers: tuple[str, ...], rrtype: str, answered: bool
) -> None:
    found = received(reply(*answers, rrtype=rrtype), rrtype, do=True)
    assert found.answered is answered and found.counts[0] == len(answers)
    assert (found.lifetime is not None) is answered
    assert found == replace(
        received(packed_as_is(answers, rrtype), rrtype, do=True), wire=found.wire, ttl_at=found.ttl_at
    )


@pytest.mark.parametrize(
    "answers",
    [
        (f"{NAME} 100 IN CNAME {NAME}", f"{NAME} 9 IN A 192.0.2.1"),
        (TO_T, f"{T} 100 IN CNAME {NAME}", f"{T} 9 IN A 192.0.2.1"),
        (TO_T, T_TO_U, f"{U} 100 IN CNAME {T}"),
        ("org. 9 IN DNAME org.org.", f"{NAME} 9 IN CNAME www.example.org.org."),
    ],
)
def test_a_circle_is_refused(answers: tuple[str, ...]) -> None:
    with pytest.raises(Garbage, match="without an end"):
        received(reply(*answers))


@pytest.mark.parametrize(
    "answers",
    [
        (TO_T, f"{NAME} 100 IN CNAME {U}", A_OF_U),
        (TO_T, T_TO_U, f"{T} 9 IN CNAME {NAME}", A_OF_U),
        (DNAME, "org. 9 IN DNAME com.", TO_W, A_OF_W),
        (DNAME, TO_T, A_OF_T),
        ("org. 9 IN DNAME com.", TO_W, A_OF_W),
    ],
)
def test_what_contradicts_itself_is_refused(answers: tuple[str, ...]) -> None:
    """As by BIND and unbound, but for a CNAME beside another DNAME, where both follow the DNAME."""
    for order in (answers, answers[::-1]):
        with pytest.raises(Garbage, match=r"two|contradicts|without an end"):
            received(reply(*order))


@pytest.mark.parametrize(
    ("answers", "made"),
    [
        ((DNAME, A_OF_W), [DNAME, TO_W, A_OF_W]),
        ((A_OF_W, DNAME), [DNAME, TO_W, A_OF_W]),
        ((DNAME,), [DNAME, TO_W]),
        ((TO_W, "net. 9 IN DNAME com.", A_OF_V), [TO_W, "net. 9 IN DNAME com.", W_TO_V, A_OF_V]),
    ],
)
def test_a_cname_that_follows_from_a_dname_is_added(answers: tuple[str, ...], made: list[str]) -> None:
    """RFC 6672 section 3.1; stub resolvers follow CNAMEs alone."""
    for wire in (
        reply(*answers),
        packed_as_is(answers, "A"),
        reply(*answers, authority=(f"{U} 9 IN NS {T}",)),
    ):
        found = received(wire)
        assert [line.lower() for line in kept(found)] == [line.lower() for line in made]
        assert found.answered is (" IN A " in made[-1])
        agree(found)


def test_a_dname_that_makes_too_long_a_name_is_refused() -> None:
    with pytest.raises(Garbage, match="too long"):
        received(reply(f"org. 9 IN DNAME {'.'.join(['l' * 60] * 4)}."))


def packed_as_is(answers: tuple[str, ...], rrtype: str) -> bytes:
    """Return the same reply without a compressed name."""
    rrs = []
    for answer in map(rrset, answers):
        owner, data = answer.name.to_wire(), answer[0].to_wire()
        assert owner is not None and data is not None
        rrs.append(owner + struct.pack(">HHIH", answer.rdtype, 1, answer.ttl, len(data)) + data)
    return raw(*rrs, question=ask_for().name + struct.pack(">HH", dns.rdatatype.from_text(rrtype), 1))


@pytest.mark.parametrize(
    "answers",
    [
        ("other.example. 300 IN A 192.0.2.1",),
        ("example.org. 300 IN A 192.0.2.1",),
        (f"a.{NAME} 300 IN A 192.0.2.1",),
        (T_TO_U, A_OF_U),
    ],
)
def test_an_answer_about_another_name_is_refused(answers: tuple[str, ...]) -> None:
    for wire in (reply(*answers), packed_as_is(answers, "A"), reply(*answers, rcode="NXDOMAIN")):
        with pytest.raises(Garbage, match="another name"):
            received(wire)


def kept(found: Response) -> list[str]:
    """The answer section, as text."""
    answer = dns.message.from_wire(found.wire, one_rr_per_rrset=True).answer
    return [f"{one.name} {one.ttl} IN {one.rdtype.name} {one[0]}" for one in answer]


@pytest.mark.parametrize(
    ("answers", "left", "answered"),
    [
        ((f"{NAME} 300 IN A 192.0.2.1", A_OF_T), [0], True),
        ((A_OF_T, f"{NAME} 300 IN A 192.0.2.1"), [1], True),
        ((TO_T, A_OF_U), [0], False),
        ((TO_T, A_OF_T, f"{U} 9 IN RRSIG A {SIGNATURE}"), [0, 1], True),
        ((TO_T, TO_T.lower().replace("in cname", "IN CNAME"), A_OF_T), [0, 2], True),
        ((TO_T, f"{T} 300 IN TXT a", A_OF_T), [0, 2], True),  # other types than asked for
        ((TO_T, f"{NAME} 300 IN A 192.0.2.1", A_OF_T), [0, 2], True),
        ((TO_T, T_TO_U, A_OF_T), [0, 1], False),
        ((TO_T, f"{T} 9 IN TXT a"), [0], False),
        ((f"{NAME} 300 IN TXT a",), [], False),
        ((f"{NAME} 300 IN AAAA ::1", f"{NAME} 300 IN A 192.0.2.1"), [1], True),
        ((f"{NAME} 300 IN A 192.0.2.1", f"{NAME} 300 IN NSEC a. A"), [0], True),
        ((f"www.{NAME} 9 IN DNAME net.", TO_T, A_OF_T), [1, 2], True),
        (("example.com. 9 IN DNAME net.", TO_T, A_OF_T), [1, 2], True),
        (("ple.org. 9 IN DNAME net.", TO_T, A_OF_T), [1, 2], True),
        (("org. 9 IN TXT a", TO_T, A_OF_T), [1, 2], True),
        ((f"org. 9 IN RRSIG TXT {SIGNATURE}", TO_T, A_OF_T), [1, 2], True),
        # in order: CNAMEs as they lead on, a DNAME before what follows from it
        ((A_OF_U, T_TO_U, TO_T), [2, 1, 0], True),
        ((A_OF_T, f"{T} 9 IN RRSIG A {SIGNATURE}", TO_T), [2, 0, 1], True),
        ((TO_W, W_TO_V, A_OF_V, "net. 9 IN DNAME com."), [0, 3, 1, 2], True),
    ],
)
def test_what_does_not_belong_is_left_out_and_the_rest_put_in_order(
    answers: tuple[str, ...], left: list[int], answered: bool
) -> None:
    """RFC 2181 section 5.4.1; stub resolvers take the first address after a CNAME."""
    expected = [" ".join(answers[number].split()) for number in left]
    for wire in (reply(*answers), packed_as_is(answers, "A"), reply(*answers, rcode="NXDOMAIN")):
        found = received(wire, do=True)
        assert kept(found) == expected
        assert found.answered is answered
        assert dns.message.from_wire(wire).rcode() == found.rcode
        agree(found)


def test_what_stands_beside_an_answer_stays_when_it_is_put_in_order() -> None:
    wire = reply(A_OF_T, TO_T, authority=(f"{T} 9 IN NS {U}",), additional=(A_OF_U,), rcode="BADVERS")
    found = received(wire)
    assert found.counts == (2, 1, 1) and found.rcode == 16
    message = dns.message.from_wire(found.wire)
    assert [str(one.name) for one in (*message.authority, *message.additional)] == [T, U]


@pytest.mark.parametrize("rrtype", ["CNAME", "ANY"])
def test_a_cname_that_was_asked_for_leads_nowhere(rrtype: str) -> None:
    found = received(reply(TO_T, A_OF_T, rrtype=rrtype), rrtype)
    assert found.counts == (1, 0, 0) and found.answered


def test_without_do_no_signature_comes_along() -> None:
    signed = (f"{NAME} 300 IN A 192.0.2.1", f"{NAME} 300 IN RRSIG A {SIGNATURE}")
    assert received(reply(*signed)).counts == (1, 0, 0)
    assert received(reply(*signed), do=True).counts == (2, 0, 0)


def test_a_referral_to_the_root_is_refused() -> None:
    """What a server says that does not know the name, and was never meant to be asked for it."""
    for rrs in ((". 9 IN NS a.",), (". 9 IN NS a.", ". 9 IN NS b.")):
        with pytest.raises(Garbage, match="referral"):
            received(reply(authority=rrs))
    assert received(reply(authority=("org. 9 IN NS a.",))).counts == (0, 1, 0)
    assert received(reply(authority=(". 9 IN NS a.", SOA))).counts == (0, 2, 0)


def test_other_sections_may_speak_of_others() -> None:
    wire = reply(f"{NAME} 300 IN A 192.0.2.1", authority=(f"{U} 9 IN NS {T}",), additional=(A_OF_T,))
    assert received(wire).counts == (1, 1, 1)


def test_a_chain_of_any_length_is_read_in_linear_time() -> None:
    """The CNAMEs of 1,500 names, each of which leads to the next: more than 11 are refused."""
    names = [ask_for().name, *(b"\x04%04d\0" % n for n in range(1500))]
    rrs = [rr(5, target, owner) for owner, target in pairwise(names)]
    start = time.process_time()
    for chain in (rrs, rrs[::-1], rrs[:12]):
        with pytest.raises(Garbage, match="without an end"):
            received(raw(*chain))
    assert received(raw(*rrs[:11])).counts == (11, 0, 0)
    assert received(raw(*rrs[10::-1])).counts == (11, 0, 0)
    assert time.process_time() - start < 1.0  # a hundred times what it takes


# Where pointers may lead


@pytest.mark.parametrize(
    ("what", "to", "first"),
    [
        ("the question's type", len(ask_for().name) + 12, rr(1, b"1234")),
        ("a type", 2, rr(1, b"1234")),
        ("a TTL", 6, rr(1, b"1234")),
        ("the length of RDATA", 10, rr(1, b"1234")),
        ("an address", 12, rr(1, b"\1a\0\0")),
        ("a text", 12, rr(16, b"\1a\1\0")),
        ("the number of an SOA", 14, rr(6, b"\0\0" + bytes(20))),
        ("opaque RDATA that goes on behind its end", 12, rr(65280, b"\2a")),
        ("opaque RDATA that ends in half a pointer", 12, rr(65280, b"\1a\xc0")),
    ],
)
def test_no_pointer_leads_to_octets_that_are_no_name(what: str, to: int, first: bytes) -> None:
    """Some of them change while a reply is kept (TTLs, the order of addresses), and with them the name."""
    to += 0 if what == "the question's type" else END
    with pytest.raises(Garbage, match=r"pointer|runs over"):
        received(raw(first, rr(2, pointer(to)), rr(1, b"1234"), counts=(0, 3, 0)))


@pytest.mark.parametrize(
    ("to", "first"),
    [
        (12 + 4, rr(1, b"1234")),  # an ancestor of the question's name
        (12 + len(ask_for().name) - 1, rr(1, b"1234")),  # its root
        (END + 12, rr(5, b"\1a\1b\0")),
        (END + 14, rr(5, b"\1a\1b\0")),
        (END + 16, rr(5, b"\1a\1b\0")),  # the root of another name
        (END + 18, rr(33, b"\0\0\0\0\0\0\1a\0")),
        (END + 14, rr(65, b"\0\1\1a\0")),  # a name in opaque RDATA
        (END + 14, rr(65, b"\0\1\1a\xc0\x0c")),
    ],
)
def test_pointers_lead_to_names(to: int, first: bytes) -> None:
    wire = raw(first, rr(2, pointer(to)), rr(2, b"\1x" + pointer(to)), counts=(0, 3, 0))
    assert received(wire).counts == (0, 3, 0)
    agree(received(wire))
