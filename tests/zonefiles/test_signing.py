"""What is known of a signed zone: its chain, and when its signatures end."""

import logging

import pytest
from zonefiles.zone_folder_harness import ZoneFolderHarness

from svcdns.names import nsec3
from svcdns.store.snapshot import Nsec3Parameters
from svcdns.zonefiles.expiry import DAY, ExpiredSignatures
from svcdns.zonefiles.master_file import CompiledZone, compile_zone
from svcdns.zonefiles.signature_times import has_expired
from svcdns.zonefiles.zone_file_error import ZoneFileError
from svcdns.zonefiles.zone_rows import ZoneRecord

HEAD = "$TTL 300\n@ SOA ns hostmaster 1 7200 1800 86400 60\n  NS ns\nns A 192.0.2.1\n"


def rrsig(owner: str, rrtype: str, expires: str = "20300101000000") -> str:
    return f"{owner} RRSIG {rrtype} 13 2 300 {expires} 20200101000000 1 example.org. {'A' * 86}==\n"


def compiled(*lines: str) -> CompiledZone:
    return compile_zone(HEAD + "".join(lines), None, "/zones/example.org.zone")


def test_a_name_is_hashed_as_in_the_rfc() -> None:
    """RFC 5155, appendix A."""
    for name, label in [
        (b"\7example\0", b"0p9mhaveqvm6t7vbl5lop2u3t2rp3tom"),
        (b"\1*\1w\7example\0", b"r53bq7cc2uvmubfu5ocmm6pers9tk9en"),
    ]:
        assert nsec3.hashed_label(name, bytes.fromhex("aabbccdd"), 12) == label


def test_a_zone_is_signed_if_its_soa_is() -> None:
    assert not compiled(rrsig("ns", "A"), "@ NSEC ns SOA\n").signing.signed
    zone = compiled(rrsig("@", "SOA"), "@ NSEC ns SOA\n")
    assert (zone.signing.signed, zone.signing.nsec3, zone.remarks) == (True, None, ())


def test_a_signed_zone_without_a_chain_is_remarked() -> None:
    (remark,) = compiled(rrsig("@", "SOA")).remarks
    assert "without NSEC or NSEC3" in remark
    (remark,) = compiled(rrsig("@", "SOA"), "@ NSEC3PARAM 1 0 0 -\n").remarks
    assert "without NSEC or NSEC3" in remark, "there are parameters, but no chain"


def chain(*, salt: str, iterations: int) -> str:
    octets = b"" if salt == "-" else bytes.fromhex(salt)
    label = nsec3.hashed_label(b"\7example\3org\0", octets, iterations).decode()
    return f"{label} NSEC3 1 0 {iterations} {salt} {label} SOA\n"


def test_the_chain_that_begins_at_the_apex_is_served() -> None:
    """One that is being built, or whose parameters say so by their flags, is not; all stay in transfers."""
    parts = [rrsig("@", "SOA"), "@ NSEC3PARAM 1 1 2 aa\n@ NSEC3PARAM 1 0 3 bb\n@ NSEC3PARAM 1 0 4 cc\n"]
    parts += [chain(salt="aa", iterations=2), chain(salt="cc", iterations=4)]
    zone = compiled(*parts)
    assert zone.signing.nsec3 == Nsec3Parameters(b"\xcc", 4)
    kept = [key[:2] for key, _ in zone.rows() if key.startswith(nsec3.FIRST)]
    assert kept == [nsec3.CHAIN, nsec3.OTHERS]
    both = compiled(*parts, "@ NSEC ns SOA\n")
    assert both.signing.nsec3 is not None
    assert compiled(rrsig("@", "SOA"), "@ NSEC3PARAM 1 0 3 bb\n@ NSEC ns SOA\n").signing.nsec3 is None


def test_more_iterations_than_validators_take_are_refused() -> None:
    most = nsec3.MAX_ITERATIONS
    parts = [rrsig("@", "SOA"), f"@ NSEC3PARAM 1 0 {most} -\n", chain(salt="-", iterations=most)]
    assert compiled(*parts).signing.nsec3 is not None
    with pytest.raises(ZoneFileError, match=r"151 iterations.*RFC 9276"):
        compiled(rrsig("@", "SOA"), f"@ NSEC3PARAM 1 0 {most + 1} -\n")


def test_the_rrset_whose_last_signature_ends_first_is_known() -> None:
    zone = compiled(
        rrsig("@", "SOA", "20290101000000"),
        rrsig("ns", "A", "20200101000000"),  # replaced by the next one, so it means nothing
        rrsig("ns", "A", "20280101000000"),
        rrsig("@", "NS", "20270101000000"),
        rrsig("@", "NS", "20260101000000"),
    )
    assert (zone.signing.expires, zone.signing.expiring) == (1798761600, "example.org. NS")


def test_times_go_round_after_2106() -> None:
    assert has_expired(100, 101) and not has_expired(100, 100) and not has_expired(100, 99)
    assert has_expired((1 << 32) - 1, (1 << 32) + 5) and not has_expired(5, (1 << 32) - 1)


def record(expires: int, version: int = 1) -> ZoneRecord:
    return ZoneRecord(
        "example.org.zone",
        b"",
        "example.org.",
        1,
        version,
        3,
        False,
        False,
        True,
        None,
        expires,
        "www.example.org. A",
    )


def test_expired_signatures_are_said_at_once_and_once_a_day(caplog: pytest.LogCaptureFixture) -> None:
    time = 1_800_000_000.0
    expired = ExpiredSignatures(lambda: time)

    def lines(record: ZoneRecord) -> int:
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            expired.log({b"org\0example\0": record})
        return len(caplog.messages)

    ends = int(time) + 10
    assert lines(record(ends)) == 0
    time += 11
    assert lines(record(ends)) == 1
    assert "www.example.org. A have expired at 2027-01-15 08:00:10 UTC" in caplog.text
    assert "example.org.zone" in caplog.text
    time += DAY - 1
    assert lines(record(ends)) == 0
    time += 1
    assert lines(record(ends)) == 1
    assert lines(record(ends)) == 0
    assert lines(record(ends, version=2)) == 1, "loaded again with old signatures"
    assert lines(record(ends + (1 << 20), version=3)) == 0
    time -= 3 * DAY  # the clock is set back
    assert lines(record(ends - (1 << 20))) == 1
    assert lines(ZoneRecord("f", b"", "example.org.", 1, 1, 3, False, False)) == 0, "not signed"


async def test_a_file_whose_signatures_are_old_is_said_at_load(
    world: ZoneFolderHarness, caplog: pytest.LogCaptureFixture
) -> None:
    world.write("example.org.zone", HEAD + rrsig("@", "SOA", "20200102000000"))
    await world.zones.start()
    for _ in range(3):
        await world.zones.poll()
    (line,) = [message for message in caplog.messages if "expired" in message]
    assert "example.org. SOA have expired at 2020-01-02 00:00:00 UTC" in line
    assert world.address("ns.example.org") == "192.0.2.1"
