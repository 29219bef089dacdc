"""Zone files: what a zone must be, and the rows that come of it."""

import dns.name
import dns.rdata
import dns.rdataclass
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from svcdns.names.packed import APEX, CUT, DNAME, NEGATIVE_SOA, Section, find, sections
from svcdns.wire.header import QUESTION_NAME
from svcdns.wire.key import key_of, wire_of
from svcdns.zonefiles.file_names import origin_of
from svcdns.zonefiles.master_file import CompiledZone, compile_zone
from svcdns.zonefiles.zone_file_error import ZoneFileError

HEAD = """$TTL 300
@ SOA Ns hostmaster 2026010101 7200 1800 86400 60
  NS Ns
  NS ns.sub
  NS ns.example.net.
Ns A 192.0.2.1
   AAAA 2001:db8::1
"""
SUB = "sub NS ns.sub\nns.sub A 192.0.2.9\n"
LINE = HEAD.count("\n") + SUB.count("\n") + 1
SOURCE = "/zones/example.org.zone"


def compiled(*lines: str, source: str = SOURCE) -> CompiledZone:
    return compile_zone(HEAD + SUB + "\n".join(lines) + "\n", None, source)


def rows(zone: CompiledZone) -> dict[bytes, bytes]:
    return dict(zone.rows())


def section(zone: CompiledZone, name: str, rrtype: int) -> Section:
    found = find(rows(zone)[key_of(name)], rrtype)
    assert found is not None, f"{name} has no type {rrtype}"
    return found


def text(rr: bytes) -> str:
    """One stored RR as zone text: TTL and RDATA."""
    rrtype, ttl, octets = int.from_bytes(rr[2:4]), int.from_bytes(rr[6:10]), int.from_bytes(rr[10:12])
    assert rr[:2] == QUESTION_NAME and rr[4:6] == b"\0\1" and len(rr) == 12 + octets
    return f"{ttl} {dns.rdata.from_wire(dns.rdataclass.IN, rrtype, rr, 12, octets)}"


def texts(zone: CompiledZone, name: str, rrtype: int) -> list[str]:
    return [text(rr) for rr in section(zone, name, rrtype).rrs()]


def glue(zone: CompiledZone, name: str, rrtype: int) -> list[str]:
    """The additional section as "owner address"."""
    octets, out, at = section(zone, name, rrtype).additionals, [], 0
    while at < len(octets):
        owner, used = dns.name.from_wire(octets, at)
        rr = octets[at + used :]
        size = 10 + int.from_bytes(rr[8:10])
        out.append(f"{owner} {text(QUESTION_NAME + rr[:size]).split()[1]}")
        at += used + size
    return out


def test_the_apex_has_soa_ns_with_glue_and_the_negative_soa() -> None:
    zone = compiled()
    assert (zone.origin, zone.key, zone.serial) == ("example.org.", key_of("example.org"), 2026010101)
    first, row = next(zone.rows())
    assert first == zone.key and row[0] == APEX
    soa = "Ns.example.org. hostmaster.example.org. 2026010101 7200 1800 86400 60"
    assert texts(zone, "example.org", 6) == [f"300 {soa}"]
    negative = section(zone, "example.org", NEGATIVE_SOA).answers
    assert int.from_bytes(negative[2:4]) == 6 and text(negative) == f"60 {soa}", "TTL = min(TTL, MINIMUM)"
    assert glue(zone, "example.org", 2) == [
        "Ns.example.org. 192.0.2.1",
        "Ns.example.org. 2001:db8::1",
        "ns.sub.example.org. 192.0.2.9",
    ]


def test_a_short_soa_ttl_bounds_negative_answers_too() -> None:
    zone = compile_zone("@ 7 SOA a b 1 2 3 4 60\n@ 9 NS a.net.\n", None, SOURCE)
    assert section(zone, "example.org", NEGATIVE_SOA).answers[6:10] == (7).to_bytes(4)


def test_rdata_names_are_spelt_as_written_and_never_compressed() -> None:
    zone = compiled("WWW CNAME Ns", "mx MX 10 mail.Example.ORG.")
    assert section(zone, "www.example.org", 5).answers.endswith(wire_of("Ns.example.org"))
    assert section(zone, "mx.example.org", 15).answers.endswith(wire_of("mail.Example.ORG"))


def test_a_delegation_is_a_cut_with_its_glue() -> None:
    zone = compiled(
        "child NS ns.sub", "  NS a.child", "a.child AAAA 2001:db8::a", "x.sub NS y.sub", "y.sub A 192.0.2.8"
    )
    assert zone.cuts and not zone.wildcards
    stored = rows(zone)
    assert stored[key_of("child.example.org")][0] == CUT
    assert glue(zone, "child.example.org", 2) == [
        "ns.sub.example.org. 192.0.2.9",
        "a.child.example.org. 2001:db8::a",
    ]
    assert stored[key_of("a.child.example.org")][0] == 0, "glue is stored, for transfers"
    assert stored[key_of("x.sub.example.org")][0] == 0, "below a cut there is no second one"


def test_mail_and_service_targets_in_the_zone_come_with_their_addresses() -> None:
    zone = compiled(
        "@ MX 10 mail",
        "  MX 20 mail.example.net.",
        "mail A 192.0.2.25",
        "     AAAA 2001:db8::25",
        "_imap._tcp SRV 0 0 143 mail",
        "_no._tcp SRV 0 0 0 .",
        "_cut._tcp SRV 0 0 1 ns.sub",
    )
    both = ["mail.example.org. 192.0.2.25", "mail.example.org. 2001:db8::25"]
    assert glue(zone, "example.org", 15) == both
    assert glue(zone, "_imap._tcp.example.org", 33) == both
    assert glue(zone, "_no._tcp.example.org", 33) == []
    assert glue(zone, "_cut._tcp.example.org", 33) == [], "below a cut is not ours to answer"


def test_a_target_that_a_wildcard_answers_for_comes_with_its_addresses() -> None:
    """As a question for the target is answered (RFC 4592 section 3.3.1), and never out of a delegation."""
    zone = compiled(
        "mx MX 1 Any.w",
        "mx MX 2 a.b.w",
        "mx MX 3 x.here.w",
        "mx MX 4 ent.w",
        "mx MX 5 x.lab",
        "*.w A 192.0.2.2",
        "here.w TXT there",
        "x.ent.w TXT below",
        "lab NS ns",
        "*.lab A 192.0.2.3",
    )
    assert glue(zone, "mx.example.org", 15) == [
        "Any.w.example.org. 192.0.2.2",
        "a.b.w.example.org. 192.0.2.2",
    ]


@pytest.mark.parametrize(
    ("record", "rrtype"),
    [("MX 1 t", 15), ("AFSDB 1 t", 18), ("RT 1 t", 21), ("KX 1 t", 36), ("SRV 0 0 1 t", 33)],
)
def test_types_whose_target_comes_with_its_addresses(record: str, rrtype: int) -> None:
    zone = compiled(f"x {record}", "t A 192.0.2.9")
    assert glue(zone, "x.example.org", rrtype) == ["t.example.org. 192.0.2.9"]


def test_wildcards_dnames_and_unknown_types() -> None:
    zone = compiled("* TXT any", "old DNAME new.example.net.", "odd TYPE65400 \\# 3 abcdef")
    assert (zone.wildcards, zone.cuts) == (True, True)
    assert rows(zone)[key_of("old.example.org")][0] == DNAME
    assert texts(zone, "*.example.org", 16) == ['300 "any"']
    assert section(zone, "odd.example.org", 65400).answers == QUESTION_NAME + bytes.fromhex(
        "ff7800010000012c0003abcdef"
    )
    plain = compile_zone("@ 1 SOA a b 1 2 3 4 5\n@ 1 NS a.net.\n*x 1 A 192.0.2.1\n", None, SOURCE)
    assert (plain.wildcards, plain.cuts) == (False, False)


def test_an_rrset_has_one_ttl_and_no_record_twice() -> None:
    zone = compiled("a 50 A 192.0.2.5", "a 20 A 192.0.2.6", "A 60 A 192.0.2.5", "b CNAME x", "b CNAME x")
    assert texts(zone, "a.example.org", 1) == ["20 192.0.2.5", "20 192.0.2.6"]
    assert len(texts(zone, "b.example.org", 5)) == 1


def test_directives_and_relative_names() -> None:
    zone = compiled("$ORIGIN dept", "a A 192.0.2.5", "$TTL 9", "b A 192.0.2.6", "$GENERATE 1-2 h$ A 10.0.0.$")
    assert texts(zone, "a.dept.example.org", 1) == ["300 192.0.2.5"]
    assert texts(zone, "h2.dept.example.org", 1) == ["9 10.0.0.2"]


@pytest.mark.parametrize(
    ("name", "origin"),
    [
        ("example.org.zone", "example.org"),
        ("example.org.db", "example.org"),
        ("db.example.org", "example.org"),
        ("lan.zone", "lan"),
        ("example.org", None),
        (".zone", None),
        ("db.", None),
        ("README", None),
    ],
)
def test_the_origin_that_a_file_name_gives(name: str, origin: str | None) -> None:
    assert origin_of(name) == origin


def test_an_origin_line_wins_over_the_file_name() -> None:
    for top in ("$ORIGIN Example.Net.\n@", "example.net.", "$ORIGIN .\nexample.net"):
        zone = compile_zone(f"$TTL 5\n{top} SOA a. b. 1 2 3 4 5\n NS a.\n", None, "/zones/x.zone")
        assert zone.origin == "example.net."


def test_an_origin_that_is_asked_for_must_be_the_zones() -> None:
    zone = "$TTL 5\n$ORIGIN example.net.\n@ SOA a b 1 2 3 4 5\n@ NS a\n"
    assert compile_zone(zone, "Example.net", "f").serial == 1
    with pytest.raises(ZoneFileError, match=r"^f:3: the SOA stands at example\.net\., not at example\.org$"):
        compile_zone(zone, "example.org", "f")


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("a A 192.0.2.300", "can't be read (in: a A 192.0.2.300)"),
        ("a A 192.0.2.3 x", "x stands behind the end of the record"),
        ("a FOO x", "'FOO' is no record type"),
        ("a CH A 192.0.2.3", "the class is not IN"),
        ("a 2147483648 A 192.0.2.3", "the TTL 2147483648 is not in 0..2147483647 seconds"),
        ("a 99999999999 A 192.0.2.3", "99999999999 is no TTL in 0..2147483647 seconds"),
        ("$FOO x", "there is no directive $FOO"),
        ("@ SOA a b 2 2 3 4 5", "a second SOA; the first is in line 2"),
        ("sub SOA a b 2 2 3 4 5", "a second SOA; the first is in line 2"),
        ("Ns CNAME x", "Ns.example.org.".lower() + " has a CNAME, so it can't have A records too"),
        ("@ CNAME x", "example.org. has a CNAME, so it can't have SOA records too"),
        ("* NS x", "a wildcard can't have NS records"),
        ("a TYPE0 \\# 0", "TYPE0 is no type that a zone can hold"),
        ("a IN ANY \\# 0", "ANY is no type that a zone can hold"),
        ('a TXT "open', "newline in quoted string"),
        ("a TXT ( open", "unbalanced parentheses"),
        ("x" * 64 + " A 192.0.2.3", "label is > 63 octets"),
        ("a CNAME " + ".".join(["x" * 60] * 5), "name is > 255 octets"),
        ("a TYPE65400 \\# 65500 " + "00" * 65500, "too large for any DNS message (65500 octets)"),
    ],
)
def test_a_bad_record_is_refused_with_file_line_and_reason(line: str, reason: str) -> None:
    with pytest.raises(ZoneFileError) as refused:
        compiled(line, "last A 192.0.2.4")
    assert str(refused.value).startswith(f"{SOURCE}:{LINE}: ")
    assert reason in refused.value.text
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("lines", "line", "reason"),
    [
        (["a CNAME x", "a A 192.0.2.3"], 1, "a.example.org. has a CNAME, so it can't have A records too"),
        (["a CNAME x", "a CNAME y"], 1, "a.example.org. has a second CNAME"),
        (["a DNAME x", "a DNAME y"], 1, "a.example.org. has a second DNAME"),
        (["a TXT (", " one", " two )", "b FOO"], 3, "'FOO' is no record type"),
        ([f"many TYPE{1000 + number} \\# 0" for number in range(255)], 254, "has more than 254 types"),
    ],
)
def test_records_that_do_not_go_together(lines: list[str], line: int, reason: str) -> None:
    with pytest.raises(ZoneFileError) as refused:
        compiled(*lines)
    assert (refused.value.line, reason in refused.value.text) == (LINE + line, True), refused.value


@pytest.mark.parametrize(
    ("content", "source", "reason"),
    [
        ("", SOURCE, ":1: the zone has no SOA"),
        ("a 5 A 192.0.2.3\n", SOURCE, ":1: the zone has no SOA"),
        ("a A 192.0.2.3\n", SOURCE, ":1: the record has no TTL; write $TTL at the top"),
        ("\n@ 5 SOA a b 1 2 3 4 5\n", SOURCE, ":2: example.org. has no NS"),
        (
            "@ 5 SOA a b 1 2 3 4 5\n@ NS a",
            "/zones/192.168.db",
            ":1: 192.168. is no zone's name; write $ORIGIN",
        ),
        ("$ORIGIN .\n@ 5 SOA a b 1 2 3 4 5\n@ NS a", SOURCE, ":2: the SOA stands at the root; write $ORIGIN"),
        ("x", "/zones/a..b.zone", ":1: 'a..b' is no domain name"),
    ],
)
def test_a_text_that_is_no_zone(content: str, source: str, reason: str) -> None:
    with pytest.raises(ZoneFileError) as refused:
        compile_zone(content, None, source)
    assert str(refused.value).startswith(source + reason)


def test_an_additional_section_that_no_message_has_room_for_is_left_out() -> None:
    hosts = [line for n in range(3000) for line in (f"@ NS h{n}", f"h{n} A 10.0.{n >> 8}.{n & 255}")]
    found = section(compiled(*hosts), "example.org", 2)
    assert found.count == 3003 and found.additional_count == 0


VOCABULARY = """@ * a A 10 1-3 sub x.sub *.a NS CNAME DNAME MX TXT SOA IN CH 192.0.2.1
    $TTL $ORIGIN $INCLUDE $GENERATE"""
WORDS = st.sampled_from([*VOCABULARY.split(), *'();\\"\n\0é', "\n "])


@given(st.lists(WORDS, max_size=40).map(" ".join))
@example("$GENERATE 1-3 ${ A 1.2.3.4")
def test_any_text_gives_a_zone_or_one_line_with_file_and_line(garbage: str) -> None:
    try:
        zone = compiled(garbage)
    except ZoneFileError as refused:
        assert str(refused).startswith(f"{SOURCE}:{refused.line}: ") and refused.text
        assert "\n" not in str(refused) and 1 <= refused.line <= LINE + garbage.count("\n") + 1
        return
    keys = [key for key, _ in zone.rows()]
    assert keys[0] == zone.key and keys == sorted(keys) and len(keys) == len(zone)
    for _, row in zone.rows():
        for found in sections(row):
            assert all(text(rr) for rr in found.rrs())
