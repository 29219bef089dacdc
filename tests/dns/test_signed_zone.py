"""Signed zones: what goes with an answer to who sets DO, and to who doesn't (RFC 4035 section 3.1).

tests/peers asks other servers and validators about whole zones; here stands what the rules are.
"""

import random
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset
import pytest
from toolbox.answerer_harness import AnswererHarness, lines
from toolbox.served_zones import serve_zone
from toolbox.signed_zones import ORIGIN, Nsec3, SignedZone, sign

from svcdns.dns import stats
from svcdns.dns.answer import Answerer
from svcdns.dns.fast_path import FastPath
from svcdns.dns.no_reply import NOT_PLAIN
from svcdns.dns.stats import TCP, UDP


@pytest.fixture(scope="module")
def signed(need: Callable[..., str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, SignedZone]:
    need("dnssec-signzone")
    folder = tmp_path_factory.mktemp("signed")
    return {
        "nsec": sign("dnssec-signzone", folder / "nsec"),
        "nsec3": sign("dnssec-signzone", folder / "nsec3", Nsec3(opt_out=True)),
    }


@pytest.fixture(scope="module", params=["nsec", "nsec3"])
def world(
    request: pytest.FixtureRequest, signed: dict[str, SignedZone], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[AnswererHarness]:
    world = AnswererHarness(tmp_path_factory.mktemp("world") / "data")
    serve_zone(world, signed[request.param].text)
    yield world
    world.store.close()


def ask(
    world: AnswererHarness, name: str, rrtype: str, *, do: bool = True, transport: int = TCP, size: int = 1232
) -> dns.message.Message:
    flags = dns.flags.DO if do else 0
    return world.ask(
        f"{name}.{ORIGIN}" if name else ORIGIN, rrtype, edns=size, ednsflags=flags, transport=transport
    )


def types(section: list[dns.rrset.RRset]) -> list[str]:
    """Types and, for RRSIGs, what they cover, each once, sorted."""
    return sorted(
        {
            dns.rdatatype.to_text(rrset.rdtype) + (f" {rrset.covers.name}" if rrset.covers else "")
            for rrset in section
        }
    )


DNSSEC = {"RRSIG", "NSEC", "NSEC3", "DS", "DNSKEY", "NSEC3PARAM"}

QUESTIONS = [
    ("www", "A"), ("www", "MX"), ("nothing", "A"), ("any.wild", "A"), ("any.wild", "TXT"), ("ent.wild", "A"),
    ("alias2", "A"), ("lost", "A"), ("far", "A"), ("x.cnames", "A"), ("any.moved", "A"), ("host.sub", "A"),
    ("host.insecure", "A"), ("one.two.insecure3", "A"), ("two.insecure3", "A"), ("", "NS"), ("", "MX"),
    ("_imap._tcp", "SRV"), ("svc", "HTTPS"), ("many", "A"), ("big", "TXT"), ("www", "ANY"), ("to-sub", "A"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "rrtype"), QUESTIONS)
def test_without_do_there_is_nothing_of_dnssec(world: AnswererHarness, name: str, rrtype: str) -> None:
    plain, secure = ask(world, name, rrtype, do=False), ask(world, name, rrtype)
    for section in ("answer", "authority", "additional"):
        ours = getattr(plain, section)
        assert not DNSSEC & {dns.rdatatype.to_text(rrset.rdtype) for rrset in ours}
        everything = getattr(secure, section)
        others = [rrset for rrset in everything if dns.rdatatype.to_text(rrset.rdtype) not in DNSSEC]
        assert lines(ours) == lines(others)
    assert (plain.rcode(), plain.flags) == (secure.rcode(), secure.flags)
    assert not secure.flags & dns.flags.AD


@pytest.mark.parametrize(("name", "rrtype"), [("", "DNSKEY"), ("www", "RRSIG"), ("sub", "DS"), ("", "RRSIG")])
def test_who_asks_for_a_type_gets_it_without_do(world: AnswererHarness, name: str, rrtype: str) -> None:
    plain = ask(world, name, rrtype, do=False)
    assert {rrset.rdtype.name for rrset in plain.answer} == {rrtype}
    assert types(ask(world, name, rrtype).answer)[-1].startswith("RRSIG")


def test_each_rrset_goes_with_its_rrsigs(world: AnswererHarness) -> None:
    assert types(ask(world, "www", "A").answer) == ["A", "RRSIG A"]
    mx = ask(world, "", "MX")
    assert types(mx.answer) == ["MX", "RRSIG MX"]
    assert types(mx.additional) == ["A", "AAAA", "RRSIG A", "RRSIG AAAA"]
    assert types(ask(world, "alias2", "A").answer) == ["A", "CNAME", "RRSIG A", "RRSIG CNAME"]
    moved = ask(world, "any.moved", "A").answer
    assert types(moved) == ["A", "CNAME", "DNAME", "RRSIG A", "RRSIG DNAME"], (
        "what follows from it isn't signed"
    )


@pytest.mark.parametrize(("name", "rrtype"), [*QUESTIONS, ("x.dead", "A"), ("x.dead", "TXT")])
def test_no_record_comes_twice(world: AnswererHarness, name: str, rrtype: str) -> None:
    query = dns.message.make_query(f"{name}.{ORIGIN}" if name else ORIGIN, rrtype, want_dnssec=True)
    octets = world.raw(query.to_wire(), TCP)
    assert isinstance(octets, bytes)
    reply = dns.message.from_wire(octets, one_rr_per_rrset=True)
    for section in (reply.answer, reply.authority, reply.additional):
        assert len(set(lines(section))) == len(section), reply


def test_an_rrsig_has_the_ttl_of_what_it_covers(world: AnswererHarness) -> None:
    for name, rrtype in QUESTIONS:
        reply = ask(world, name, rrtype)
        for section in (reply.answer, reply.authority, reply.additional):
            ttls = {(rrset.name, rrset.rdtype): rrset.ttl for rrset in section if not rrset.covers}
            for rrset in section:
                assert not rrset.covers or ttls[rrset.name, rrset.covers] == rrset.ttl, reply


def test_a_delegation_goes_with_its_ds_or_the_proof_that_there_is_none(world: AnswererHarness) -> None:
    proof = {"NSEC3"} if "NSEC3" in str(ask(world, "nothing", "A").authority) else {"NSEC"}
    referral = ask(world, "host.sub", "A")
    assert types(referral.authority) == ["DS", "NS", "RRSIG DS"]
    assert types(referral.additional) == ["A"], "glue is not signed"
    assert not referral.flags & dns.flags.AA
    for name in ("host.insecure", "x.insecure2", "one.two.insecure3"):
        found = set(types(ask(world, name, "A").authority))
        assert found == {"NS"} | proof | {f"RRSIG {each}" for each in proof}, name


def test_the_owners_of_nsec3_records_are_no_names(signed: dict[str, SignedZone], tmp_path: Path) -> None:
    world = AnswererHarness(tmp_path / "data")
    serve_zone(world, signed["nsec3"].text)
    label = re.findall(r"^([0-9A-V]{32})\.", signed["nsec3"].text, re.MULTILINE)[3]
    for rrtype in ("NSEC3", "A", "RRSIG"):
        reply = ask(world, label, rrtype)
        assert (reply.rcode(), reply.answer) == (dns.rcode.NXDOMAIN, [])
        assert "NSEC3" in types(reply.authority)
    assert ask(world, f"x.{label}", "A", do=False).rcode() == dns.rcode.NXDOMAIN
    world.store.close()


def test_what_has_no_room_is_cut_with_tc(world: AnswererHarness) -> None:
    """Answers, their RRSIGs and proofs don't go missing without TC; the RRSIGs of additionals may."""
    for name, rrtype in QUESTIONS:
        if rrtype == "ANY":
            continue
        whole = ask(world, name, rrtype)
        for size in range(512, len(whole.to_wire()) + 400, 50):
            cut = ask(world, name, rrtype, transport=UDP, size=size)
            assert len(cut.to_wire()) <= min(size, 1232)
            needed = [*whole.answer, *whole.authority]
            if not cut.flags & dns.flags.TC:
                assert lines([*cut.answer, *cut.authority]) == lines(needed), (name, size)
            for section in ("answer", "authority", "additional"):
                assert set(lines(getattr(cut, section))) <= set(lines(getattr(whole, section)))


def test_the_fast_path_says_what_the_exact_one_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a zone without delegations and wildcards; questions with DO are never plain."""
    world = AnswererHarness(tmp_path / "data")
    text = ["$TTL 300", "@ SOA ns h 1 2 3 4 60", " NS ns", "ns A 192.0.2.1", "a.b A 192.0.2.2", "c CNAME ns"]
    text += [f"@ RRSIG SOA 13 2 300 20370101000000 20200101000000 1 example.net. {'A' * 86}=="]
    text += [
        "@ NSEC b RRSIG NSEC",
        f"@ RRSIG NSEC 13 2 300 20370101000000 20200101000000 1 example.net. {'A' * 86}==",
    ]
    zone = serve_zone(world, "\n".join(text) + "\n", "example.net")
    assert zone.signed and not zone.cuts and not zone.wildcards
    exact = Answerer(stats.Stats(), identity="worker-0")
    monkeypatch.setattr(exact, "_fast", lambda *_: NOT_PLAIN)
    fast = FastPath(stats.Stats(), 1232)
    plain = {True: 0, False: 0}
    for name in (
        "example.net.",
        "ns.example.net.",
        "b.example.net.",
        "a.b.example.net.",
        "no.example.net.",
    ):
        for rrtype in ("A", "TXT", "SOA", "NS"):
            for do in (True, False):
                packet = dns.message.make_query(name, rrtype, want_dnssec=do, use_edns=0).to_wire()
                with world.snapshots.begin() as snapshot:
                    random.seed(1)
                    one = world.answerer.answer(packet, snapshot)
                    random.seed(1)
                    assert one == exact.answer(packet, snapshot), (name, rrtype, do)
                    assert exact._view is not None
                    plain[do] += fast.answer(packet, exact._view, UDP) is not NOT_PLAIN
    assert plain[True] == 0 and plain[False] >= 16
    world.store.close()


def test_any_name_is_answered_from_any_rest_of_a_zone(need: Callable[..., str], tmp_path: Path) -> None:
    """Whatever records are missing, there is an answer that can be read, never SERVFAIL."""
    need("ldns-signzone")
    rng = random.Random()
    for nsec3 in (None, Nsec3("ab", 1), Nsec3(opt_out=True)):
        first, *others = sign("ldns-signzone", tmp_path / f"signed-{nsec3}", nsec3).text.splitlines()
        kept = "".join(f"{line}\n" for line in others if "\tNS\t" in line)
        for share in (0.9, 0.3):
            world = AnswererHarness(tmp_path / f"data-{nsec3}-{share}")
            text = "".join(f"{line}\n" for line in others if "\tRRSIG\tSOA" in line or rng.random() < share)
            serve_zone(world, f"{first}\n{kept}{text}")
            for _ in range(60):
                count = rng.choice([0, 1, 1, 2, 3, 110])
                labels = [rng.choice(LABELS[: 5 if count > 3 else None]) for _ in range(count)]
                name = dns.name.Name([*labels, *dns.name.from_text(rng.choice(BASES)).labels])
                query = dns.message.make_query(name, rng.choice(TYPES), want_dnssec=rng.random() < 0.9)
                reply = world.raw(query.to_wire(), rng.choice([UDP, TCP]))
                assert isinstance(reply, bytes)
                assert dns.message.from_wire(reply).rcode() in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN), query
            assert not world.counters.slots[stats.PANICS]
            world.store.close()


LABELS = [b"\0", b"\1", b"\xff", b"*", b"a", b"www", b"wild", b"x", b"UPPER", b"zzzzzzzz"]
BASES = [
    f"{label}{ORIGIN}" for label in ("", "sub.", "insecure.", "moved.", "wild.", "starred.", "er.still.")
]
TYPES = ["A", "NS", "DS", "NSEC", "NSEC3", "RRSIG", "TXT", "CNAME", "SOA"]
