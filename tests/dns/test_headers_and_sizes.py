"""Header, EDNS, sizes and everything malformed (rows J of docs/dns.md)."""

import struct

import dns.edns
import dns.flags
import dns.message
import dns.rcode
import dns.rdataclass
import pytest
from toolbox.answerer_harness import AnswererHarness, Z, lines, rrset

from svcdns.dns import stats
from svcdns.dns.answer import Answerer
from svcdns.dns.draft import Draft
from svcdns.dns.no_reply import NOT_PLAIN, SILENCE
from svcdns.dns.stats import TCP, UDP, Stats
from svcdns.dns.truncation import fit
from svcdns.wire.key import wire_of

WEB = f"web.default.svc.{Z}"
NAME = wire_of(WEB)
PLAIN = b"\x12\x34\x01\0\0\1\0\0\0\0\0\0" + NAME + b"\0\1\0\1"
OPT = b"\0\0\x29\x04\xd0\0\0\0\0\0\0"


def with_counts(packet: bytes, *counts: int) -> bytes:
    return packet[:4] + struct.pack(">4H", *counts) + packet[12:]


def rcode_of(reply: bytes | None) -> int:
    assert isinstance(reply, bytes)
    return reply[3] & 0xF


@pytest.mark.parametrize("octets", range(12))
def test_shorter_than_a_header_is_silence(shared_world: AnswererHarness, octets: int) -> None:
    assert shared_world.raw(PLAIN[:octets]) is SILENCE


def test_replies_are_not_answered(shared_world: AnswererHarness) -> None:
    assert shared_world.raw(PLAIN[:2] + b"\x81" + PLAIN[3:]) is SILENCE
    assert shared_world.raw(PLAIN[:2] + b"\xa9" + PLAIN[3:]) is SILENCE


@pytest.mark.parametrize("opcode", range(1, 16))
def test_other_opcodes_are_not_implemented(shared_world: AnswererHarness, opcode: int) -> None:
    reply = shared_world.raw(PLAIN[:2] + bytes((opcode << 3 | 1,)) + PLAIN[3:])
    assert rcode_of(reply) == dns.rcode.NOTIMP
    assert isinstance(reply, bytes)
    assert reply[2] == 0x80 | opcode << 3 | 1
    assert reply[12:] == PLAIN[12:]


TRAILING = {
    "an octet": (PLAIN, b"\0"),
    "an OPT that isn't counted": (PLAIN, OPT),
    "behind the OPT": (with_counts(PLAIN + OPT, 1, 0, 0, 1), b"x"),
    "a second OPT that isn't counted": (with_counts(PLAIN + OPT, 1, 0, 0, 1), OPT),
    "as many as a datagram has": (PLAIN, bytes(4096 - len(PLAIN))),
}


@pytest.mark.parametrize("what", TRAILING)
@pytest.mark.parametrize("transport", [UDP, TCP])
def test_octets_behind_a_question_mean_nothing(
    shared_world: AnswererHarness, what: str, transport: int
) -> None:
    """As BIND and unbound take it; but never by the fast path, which reads what is exactly the same."""
    asked, behind = TRAILING[what]
    assert shared_world.raw(asked + behind, transport) == shared_world.raw(asked, transport)
    assert rcode_of(shared_world.raw(asked + behind, transport)) == dns.rcode.NOERROR
    with shared_world.snapshots.begin() as snapshot:
        view = shared_world.answerer._view_of(snapshot)
        assert view is not None
        assert shared_world.answerer._fast(asked + behind, view, transport) is NOT_PLAIN


MALFORMED = {
    "header only": PLAIN[:12],
    "no question": with_counts(PLAIN[:12], 0, 0, 0, 0),
    "no question, trailing octets": with_counts(PLAIN, 0, 0, 0, 0),
    "two questions": with_counts(PLAIN + PLAIN[12:], 2, 0, 0, 0),
    "two questions, one there": with_counts(PLAIN, 2, 0, 0, 0),
    "an OPT that isn't there": with_counts(PLAIN, 1, 0, 0, 1),
    "two OPTs": with_counts(PLAIN + OPT + OPT, 1, 0, 0, 2),
    "OPT with an owner": with_counts(PLAIN + b"\1x" + OPT, 1, 0, 0, 1),
    "option over the end": with_counts(PLAIN + OPT[:-2] + b"\0\5\0\3\0\2x", 1, 0, 0, 1),
    "half an option": with_counts(PLAIN + OPT[:-2] + b"\0\3\0\3\0", 1, 0, 0, 1),
    "RDATA over the end": with_counts(PLAIN + OPT[:-2] + b"\0\5", 1, 0, 0, 1),
    "cut name": PLAIN[:20],
    "cut type": PLAIN[:-3],
    "label of 64 octets": PLAIN[:12] + b"\x40" + bytes(64) + b"\0\0\1\0\1",
    "label type 01": PLAIN[:12] + b"\x41\1\0\0\1\0\1",
    "pointer in the question": PLAIN[:12] + b"\xc0\x0c\0\1\0\1",
    "pointer behind a label": PLAIN[:12] + b"\3web\xc0\x0c\0\1\0\1",
    "name of 256 octets": PLAIN[:12] + (b"\x3f" + b"a" * 63) * 3 + b"\x3e" + b"a" * 62 + b"\0\0\1\0\1",
    "name of 256 octets below a zone of ours": PLAIN[:12]
    + (b"\x3f" + b"a" * 63) * 3
    + bytes((255 - 192 - len(NAME),))
    + b"b" * (255 - 192 - len(NAME))
    + PLAIN[12:],
    "an answer": with_counts(PLAIN + b"\xc0\x0c" + OPT[1:], 1, 1, 0, 0),
    "an authority": with_counts(PLAIN + b"\xc0\x0c" + OPT[1:], 1, 0, 1, 0),
    "a pointer forward": with_counts(PLAIN + b"\xc0\xff" + OPT[1:], 1, 0, 0, 1),
    "a pointer to itself": with_counts(PLAIN + (0xC000 | len(PLAIN)).to_bytes(2) + OPT[1:], 1, 0, 0, 1),
}


@pytest.mark.parametrize("what", MALFORMED)
def test_malformed_is_formerr(shared_world: AnswererHarness, what: str) -> None:
    reply = shared_world.raw(MALFORMED[what])
    assert isinstance(reply, bytes)
    message = dns.message.from_wire(reply)
    assert message.rcode() == dns.rcode.FORMERR
    assert message.id == 0x1234
    assert not message.answer


@pytest.mark.parametrize(("version", "rcode"), [(0, dns.rcode.FORMERR), (1, dns.rcode.BADVERS)])
def test_no_question_but_an_opt_gets_one(shared_world: AnswererHarness, version: int, rcode: int) -> None:
    """RFC 6891 section 6.1.1; such messages ask for a cookie (RFC 7873 section 5.4)."""
    asked = OPT[:6] + bytes((version,)) + OPT[7:]
    reply = shared_world.raw(with_counts(PLAIN[:12] + asked, 0, 0, 0, 1))
    assert isinstance(reply, bytes)
    message = dns.message.from_wire(reply)
    assert (message.rcode(), message.edns) == (rcode, 0)


def test_longest_name_is_answered(shared_world: AnswererHarness) -> None:
    prefix = (b"\x3f" + b"a" * 63) * 3
    rest = 255 - len(prefix) - len(NAME)
    packet = PLAIN[:12] + prefix + bytes((rest - 1,)) + b"b" * (rest - 1) + NAME + b"\0\1\0\1"
    assert len(packet) == 12 + 255 + 4
    assert rcode_of(shared_world.raw(packet)) == dns.rcode.NXDOMAIN
    nuls = PLAIN[:12] + (b"\x3f" + bytes(63)) * 3 + bytes((rest - 1,)) + bytes(rest - 1) + NAME + b"\0\1\0\1"
    assert rcode_of(shared_world.raw(nuls)) == dns.rcode.NXDOMAIN


def test_a_hundred_and_more_labels(shared_world: AnswererHarness) -> None:
    labels = (255 - len(NAME)) // 2
    assert rcode_of(shared_world.raw(PLAIN[:12] + b"\1x" * labels + PLAIN[12:])) == dns.rcode.NXDOMAIN


@pytest.mark.parametrize("rrtype", [0, 41, 128, 249, 250, 65535])
@pytest.mark.parametrize("name", [WEB, Z, "nothing." + Z])
def test_types_that_cant_be_asked_for(shared_world: AnswererHarness, rrtype: int, name: str) -> None:
    reply = shared_world.raw(PLAIN[:12] + wire_of(name) + rrtype.to_bytes(2) + b"\0\1")
    assert rcode_of(reply) == dns.rcode.FORMERR


@pytest.mark.parametrize("rrtype", ["AXFR", "IXFR"])
def test_no_transfer_without_tcp(shared_world: AnswererHarness, rrtype: str) -> None:
    reply = shared_world.raw(
        PLAIN[:12] + wire_of(Z) + {"AXFR": b"\0\xfc", "IXFR": b"\0\xfb"}[rrtype] + b"\0\1"
    )
    assert rcode_of(reply) == dns.rcode.REFUSED


@pytest.mark.parametrize("rrclass", [2, 3, 4, 254, 255, 0])
def test_other_classes_are_refused(shared_world: AnswererHarness, rrclass: int) -> None:
    assert rcode_of(shared_world.raw(PLAIN[:-2] + rrclass.to_bytes(2))) == dns.rcode.REFUSED


def test_id_server_names_the_worker(shared_world: AnswererHarness) -> None:
    query = dns.message.make_query("ID.Server", "TXT", rdclass="CH", use_edns=0)
    reply = dns.message.from_wire(shared_world.raw(query.to_wire()) or b"")
    assert str(reply.answer[0][0]) == '"worker-0"'
    assert reply.answer[0].rdclass == dns.rdataclass.CH
    assert reply.edns == 0
    other = dns.message.make_query("id.server", "A", rdclass="CH")
    assert rcode_of(shared_world.raw(other.to_wire())) == dns.rcode.REFUSED


class TestEdns:
    def test_one_opt_for_one(self, shared_world: AnswererHarness) -> None:
        reply = shared_world.ask(WEB, edns=4096)
        assert reply.edns == 0
        assert reply.payload == 1232
        assert not reply.ednsflags & dns.flags.DO

    @pytest.mark.parametrize("name", [WEB, "nothing." + WEB, "example.com", f"inner.default.svc.{Z}"])
    def test_do_is_copied(self, shared_world: AnswererHarness, name: str) -> None:
        assert shared_world.ask(name, edns=1232, ednsflags=dns.flags.DO | 1).ednsflags == dns.flags.DO

    def test_unknown_options_are_dropped(self, shared_world: AnswererHarness) -> None:
        options = [dns.edns.GenericOption(10, b"12345678"), dns.edns.GenericOption(65001, b"")]
        query = dns.message.make_query(WEB, "A", use_edns=0, options=options)
        reply = dns.message.from_wire(shared_world.raw(query.to_wire()) or b"")
        assert reply.answer
        assert reply.edns == 0
        assert not reply.options

    @pytest.mark.parametrize("version", [1, 2, 255])
    def test_other_versions(self, shared_world: AnswererHarness, version: int) -> None:
        packet = with_counts(PLAIN + OPT[:6] + bytes((version,)) + OPT[7:], 1, 0, 0, 1)
        reply = dns.message.from_wire(shared_world.raw(packet) or b"")
        assert reply.rcode() == dns.rcode.BADVERS
        assert reply.edns == 0
        assert not reply.answer

    def test_opt_beside_other_additionals(self, shared_world: AnswererHarness) -> None:
        extra = b"\xc0\x0c\0\1\0\1\0\0\0\5\0\4\1\2\3\4"
        reply = shared_world.raw(with_counts(PLAIN + extra + OPT, 1, 0, 0, 2))
        assert rcode_of(reply) == dns.rcode.NOERROR
        assert dns.message.from_wire(reply or b"").edns == 0


class TestSize:
    @pytest.mark.parametrize(
        ("edns", "limit"), [(None, 512), (0, 512), (700, 700), (1232, 1232), (65535, 1232)]
    )
    def test_udp_limit(self, shared_world: AnswererHarness, edns: int | None, limit: int) -> None:
        query = dns.message.make_query(
            f"huge.default.svc.{Z}", "A", use_edns=-1 if edns is None else 0, payload=edns or 0
        )
        reply = shared_world.raw(query.to_wire())
        assert reply is not None
        assert limit - 16 < len(reply) <= limit
        message = dns.message.from_wire(reply)
        assert message.flags & dns.flags.TC
        assert len(message.answer[0]) == (limit - len(query.to_wire())) // 16

    def test_additionals_are_compressed_before_any_is_left_out(self, shared_world: AnswererHarness) -> None:
        reply = shared_world.ask(f"db.default.svc.{Z}", "SRV", edns=512)
        assert not reply.flags & dns.flags.TC
        assert len(reply.answer[0]) == 5
        assert len(reply.additional) == 5

    def test_additionals_go_before_answers(self, shared_world: AnswererHarness) -> None:
        reply = shared_world.ask(f"many.default.svc.{Z}", "SRV", edns=1232)
        assert not reply.flags & dns.flags.TC
        assert len(reply.answer[0]) == 20
        assert 0 < len(reply.additional) < 20
        targets = {rdata.target for rdata in reply.answer[0]}
        assert {rrset.name for rrset in reply.additional} <= targets

    def test_tc_when_answers_are_missing(self, shared_world: AnswererHarness) -> None:
        reply = shared_world.ask(f"many.default.svc.{Z}", "SRV", edns=600)
        assert reply.flags & dns.flags.TC
        assert 0 < len(reply.answer[0]) < 20
        assert not reply.additional

    def test_tcp_has_all(self, shared_world: AnswererHarness) -> None:
        reply = shared_world.ask(f"many.default.svc.{Z}", "SRV", transport=TCP)
        assert len(reply.answer[0]) == len(reply.additional) == 20

    @pytest.mark.parametrize("edns", [None, 1232])
    def test_tcp_past_its_limit_is_a_random_subset(
        self, shared_world: AnswererHarness, edns: int | None
    ) -> None:
        seen: set[str] = set()
        for _ in range(20):
            reply = shared_world.ask(f"huge.default.svc.{Z}", edns=edns, transport=TCP)
            assert not reply.flags & dns.flags.TC
            count = len(reply.answer[0])
            assert 4000 < count < 5000
            seen |= {str(rdata) for rdata in reply.answer[0]}
            if edns:
                (error,) = reply.extended_errors()
                assert (error.code, error.text) == (0, f"{count} of 5000")
        assert len(seen) == 5000

    def test_negative_answers_may_be_too_large(self, world: AnswererHarness) -> None:
        origin = ".".join(["o" * 60] * 3 + ["o" * 40])
        world.file_zone(origin)
        reply = world.ask(f"x.{origin}")
        assert reply.rcode() == dns.rcode.NXDOMAIN
        assert reply.flags & dns.flags.TC
        assert len(world.ask(f"x.{origin}", edns=1232).authority) == 1


def test_exception_costs_one_servfail(world: AnswererHarness, caplog: pytest.LogCaptureFixture) -> None:
    with world.store.env.begin(write=True) as txn:
        txn.put(b"local\0cluster\0svc\0default\0bad\0", b"\0\1\0\1", db=world.store.tables.answers_a)
    reply = world.ask(f"bad.default.svc.{Z}")
    assert reply.rcode() == dns.rcode.SERVFAIL
    assert world.counters.slots[stats.PANICS] == 1
    assert "no answer" in caplog.text
    assert world.ask(WEB).answer


def test_without_a_store_everything_is_servfail() -> None:
    answerer = Answerer(Stats())
    reply = answerer.answer(PLAIN, None)
    assert rcode_of(reply) == dns.rcode.SERVFAIL
    assert answerer.answer(b"", None) is SILENCE


def test_udp_size_is_the_configured_one(shared_world: AnswererHarness) -> None:
    answerer = Answerer(Stats(), udp_size=600)
    snapshot = shared_world.snapshots.begin()
    query = dns.message.make_query(f"huge.default.svc.{Z}", "A", use_edns=0, payload=4096)
    reply = answerer.answer(query.to_wire(), snapshot)
    snapshot.txn.abort()
    assert isinstance(reply, bytes)
    assert len(reply) <= 600
    assert dns.message.from_wire(reply).payload == 600


def test_mx_target_names_compress_too(world: AnswererHarness) -> None:
    zone = world.file_zone("example.org")
    from toolbox.answerer_harness import glue

    mail = [f"mail-{n}.a-rather-long-subdomain.example.org" for n in range(9)]
    extra = tuple(glue(name, "A", f"192.0.2.{n}") for n, name in enumerate(mail))
    world.put_file(zone, "example.org", rrset("MX", *(f"10 {name}." for name in mail), glue=extra))
    reply = world.ask("example.org", "MX", edns=800)
    assert len(reply.answer[0]) == 9
    assert len(lines(reply.additional)) == 9


def test_owner_that_no_answer_names_is_spelt_once() -> None:
    owner, tail = wire_of("server.example.org"), b"\0\1\0\1\0\0\0\5\0\4\1\2\3\4"
    draft = Draft(additionals=(owner + tail) * 3, additional_count=3)
    fitted = fit(draft, 40, len(owner) + 4 + 3 * len(tail))
    assert fitted.additional_count == 3
    assert fitted.additionals == owner + tail + (b"\xc0\x28" + tail) * 2
