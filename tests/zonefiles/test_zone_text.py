"""Zone files as other servers take them: directives, TTLs, included files, dumps, and what is ignored."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from toolbox.served_zones import records

from svcdns.zonefiles import generate, includes
from svcdns.zonefiles.includes import Includes
from svcdns.zonefiles.master_file import CompiledZone, compile_zone
from svcdns.zonefiles.zone_file_error import ZoneFileError
from svcdns.zonefiles.zone_text import decode

HEAD = "$TTL 300\n@ SOA ns hostmaster 1 7200 1800 86400 60\n  NS ns\nns A 192.0.2.1\n"
LINE = HEAD.count("\n") + 1


def compiled(folder: Path, text: str) -> CompiledZone:
    """The zone of a file in a folder, with what it includes."""
    return compile_zone(text, None, str(folder / "example.org.zone"), Includes(folder))


def names(zone: CompiledZone) -> list[str]:
    return [".".join(key.decode().split("\0")[2:-1]) for key, _ in zone.rows()]


ZONES = {
    "TTLs in units, before and behind the class": "a 1h30m IN A 192.0.2.1\nb IN 2D A 192.0.2.2\n"
    "c 1w2d3h4m5s A 192.0.2.3\n",
    "no $TTL: that of the record before": "$TTL 9\na A 192.0.2.1\nb 77 A 192.0.2.2\nc A 192.0.2.3\n",
    "parentheses, comments and quotes": "a ( ; one\n A ; two\n 192.0.2.1 )\n"
    'b TXT "x;y" ( "a" ; z\n "b(" ) \\"c\n',
    "blank owners, tabs, carriage returns": "a\tA\t192.0.2.1\r\n\tAAAA ::1\r\n  \r\n; end\r\n TXT x\r\n",
    "escapes": 'a\\.b A 192.0.2.1\n\\065bc TXT \\065\\066 "\\"\\\\\\009"\n\\000\\255 A 192.0.2.2\n',
    "letter case": "A in a 192.0.2.1\n$ttl 5\nB iN Txt X\n$OrIgIn SUB\nC cname A.Example.ORG.\n",
    "classes by number, types by number": "a CLASS1 TYPE1 \\# 4 c0000201\n"
    "b IN TYPE65534 \\# 3 AB cd EF\nc TYPE16 x\n",
    "$GENERATE": "$GENERATE 1-9/4 h${0,3,d} 7 IN A 10.0.0.$\n"
    '$GENERATE 0-17/8 n TXT "${2,5,n} $$ \\$ ${0,0,X}"\n',
    "the SOA again at the end": "a A 192.0.2.1\n@ SOA ns hostmaster 1 7200 1800 86400 60\n",
    "DNAMEs above names, at a wildcard, beside NS": "d DNAME x\na.d A 192.0.2.1\n*.w DNAME x\ns DNAME x\n"
    "s NS ns\n",
    "octets that are no UTF-8": 'a TXT "caf\udce9" \udcff\n; caf\udce9\n',
}

TYPES = r"""
WKS 10.0.0.1 TCP telnet ftp 0 1 2
LOC 42 21 43.952 N 71 5 6.344 W -24m 1m 200m
LOC 12 S 71 5 E 18074.51m 0.29m
APL !1:10.0.0.1/32 2:ff00::/8
NSAP 0x47.0005.80.005a00.0000.0001.e133.ffffff000161.00
NAPTR 100 50 "s" "http+I2C" "" _http._tcp.foo.com.
HINFO PC-Intel-700mhz "Redhat \"Linux\" 7.1"
KEY HOST|NOAUTH EMAIL DSA AAAA
KEY 0xc100 3 1
DNSKEY NOCONF|FLAG4 3 RSASHA256 AAAA
CDNSKEY 0 3 0 AA==
DS 20892 RSASHA256 SHA-256 B4BBA0D8D8E4F3A4C3C2C8A5D5F5F5F5E5E5E5E5 D4D4D4D4C3C3C3C3B2B2B2B2
CERT PGP 0 0 AQMFD5raczCJHViKtLYh
CERT IACPKIX 1 NSEC3RSASHA1 AQMF
NSEC foo NSAP-PTR NSEC UINFO A6 TALINK DOA TYPE1234
NXT b A MX SIG NXT
RRSIG TYPE65280 RSASHA256 3 3600 1977934245 20200102030405 2143 foo AAAA
IPSECKEY 10 2 2 2001:0DB8:0:8002::2000:1 AQNRU3mG7TVTO2BkR47usntb102uFJtugbo6BSGvgqt4AQ==
AMTRELAY 0 0 3 example.net.
NID 10 14:4fff:0:ee64
URI 30 40 ( "https://www.isc.org/HolyCow" )
HTTPS 1 foo ipv6hint="2001:db8::1,2001:db8::53:1" alpn=h2,h3-19 mandatory=ipv4hint,alpn ipv4hint=192.0.2.1
SVCB 16 foo.example.org. alpn="f\\\\oo\\,bar,h2" key667="hello\210qoo"
DOA 1234567890 1234567890 1 "image/gif" R0lGODlhKAAZ AOMCAGZm
SINK 8 0 2 l4ik
A6 65 ::1 foo.example.
ATMA +61.200000000
TXT "Some \"quotes\" and ; semicolons" foo\;bar
TYPE731 \# 6 abcdef ( 012345 )
"""
"""Records as people write them."""


def test_bind_reads_the_same_in_records_of_all_types(need: Callable[..., str], tmp_path: Path) -> None:
    lines = [f"t{number} {line}\n" for number, line in enumerate(TYPES.strip().split("\n"))]
    test_bind_reads_the_same(need, tmp_path, "".join(lines))


@pytest.mark.parametrize("lines", ZONES.values(), ids=ZONES)
def test_bind_reads_the_same(need: Callable[..., str], tmp_path: Path, lines: str) -> None:
    octets = (HEAD + lines).encode("utf-8", "surrogateescape")
    (tmp_path / "in").write_bytes(octets)
    command = [
        need("named-compilezone"),
        "-q",
        "-i",
        "none",
        "-k",
        "ignore",
        "-o",
        "out",
        "example.org",
        "in",
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert records((tmp_path / "out").read_text()) == records(decode(octets))


def test_a_zone_without_any_ttl_takes_the_soas_minimum() -> None:
    zone = compile_zone("@ SOA a b 1 2 3 4 1m\n@ NS a.net.\n", None, "/zones/example.org.zone")
    ((_, row),) = zone.rows()
    assert row.count((60).to_bytes(4)) >= 4  # TTL of SOA, of its negative form and of NS; MINIMUM


class TestRemarks:
    def test_records_outside_the_zone_are_left_out(self, tmp_path: Path) -> None:
        zone = compiled(tmp_path, HEAD + "www.example.net. A 192.0.2.3\norg. TXT x\nin A 192.0.2.4\n")
        (remark,) = zone.remarks
        assert "2 records outside the zone" in remark and f"www.example.net. (line {LINE})" in remark
        assert names(zone) == ["", "in", "ns"]

    def test_names_that_a_dname_hides(self, tmp_path: Path) -> None:
        zone = compiled(tmp_path, HEAD + "d DNAME x\nb.d A 192.0.2.1\nc NS ns\nc DNAME x\nd.c A 192.0.2.1\n")
        (remark,) = zone.remarks
        assert "2 names are hidden by a DNAME" in remark and f"c.example.org. (line {LINE + 2})" in remark

    def test_of_a_zone_without_a_fault_there_is_none(self, tmp_path: Path) -> None:
        assert compiled(tmp_path, HEAD + "sub NS ns.sub\nns.sub A 192.0.2.2\n").remarks == ()


class TestInclude:
    def test_relative_names_and_the_owner_are_those_of_the_line(self, tmp_path: Path) -> None:
        (tmp_path / "inc").write_text(" TXT of-b\n$ORIGIN deeper\nx A 192.0.2.6\n$TTL 9\n")
        text = (
            HEAD + 'b A 192.0.2.4\n$INCLUDE "inc" ; as it is\n TXT again\n$include inc sub\ny A 192.0.2.5\n'
        )
        assert names(compiled(tmp_path, text)) == ["", "b", "deeper.x", "ns", "sub.deeper.x", "y"]

    def test_bind_includes_the_same(self, need: Callable[..., str], tmp_path: Path) -> None:
        (tmp_path / "inner").write_text("$TTL 5\nq TXT x\n")
        (tmp_path / "inc").write_text(
            " TXT of-b\n$INCLUDE inner in.\n$INCLUDE inner\n$ORIGIN deeper\nx A 192.0.2.6\n"
        )
        text = (
            HEAD + "b A 192.0.2.4\n$INCLUDE inc\n TXT again\n$INCLUDE inc sub.example.org.\ny A 192.0.2.5\n"
        )
        (tmp_path / "example.org.zone").write_text(text)
        command = [
            need("named-compilezone"),
            "-q",
            "-i",
            "none",
            "-o",
            "out",
            "example.org",
            "example.org.zone",
        ]
        subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, timeout=120)
        theirs = compile_zone((tmp_path / "out").read_text(), None, "/zones/example.org.zone")
        assert list(compiled(tmp_path, text).rows()) == list(theirs.rows())

    def test_files_are_looked_for_in_the_folder_then_beside_the_one_that_includes(
        self, tmp_path: Path
    ) -> None:
        (tmp_path / "sub").mkdir()
        (tmp_path / "sub" / "a").write_text("$INCLUDE b\n$INCLUDE c\n")
        (tmp_path / "sub" / "b").write_text("beside TXT x\n")
        (tmp_path / "sub" / "c").write_text("not-this TXT x\n")
        (tmp_path / "c").write_text("in-the-folder TXT x\n")
        zone = compiled(tmp_path, HEAD + f"$INCLUDE sub/a\n$INCLUDE {tmp_path}/sub/../c c\n")
        assert names(zone) == ["", "beside", "c.in-the-folder", "in-the-folder", "ns"]

    @pytest.mark.parametrize(
        "name", ["/etc/passwd", "../secret", "sub/../../secret", "out", "sub/out", "through/secret"]
    )
    def test_nothing_outside_the_folder_is_read(self, tmp_path: Path, name: str) -> None:
        folder = tmp_path / "zones"
        (folder / "sub").mkdir(parents=True)
        (tmp_path / "secret").write_text("secret TXT x\n")
        (folder / "out").symlink_to(tmp_path / "secret")
        (folder / "sub" / "out").symlink_to("../../secret")
        (folder / "through").symlink_to("..")
        with pytest.raises(ZoneFileError) as refused:
            compiled(folder, HEAD + f"$INCLUDE {name}\n")
        assert (refused.value.line, "outside the folder" in refused.value.text) == (LINE, True)

    def test_links_within_the_folder_are_followed(self, tmp_path: Path) -> None:
        (tmp_path / "..2026").mkdir()
        (tmp_path / "..2026" / "inc").write_text("a TXT x\n")
        (tmp_path / "..data").symlink_to("..2026")
        (tmp_path / "inc").symlink_to("..data/inc")  # as a mounted ConfigMap has it
        assert "a" in names(compiled(tmp_path, HEAD + "$INCLUDE inc\n"))

    def test_mistakes_are_said_with_the_file_in_which_they_stand(self, tmp_path: Path) -> None:
        (tmp_path / "inc").write_text("\na A 192.0.2.1\nb A 192.0.2.300\n")
        with pytest.raises(ZoneFileError) as refused:
            compiled(tmp_path, HEAD + "$INCLUDE inc\n")
        assert str(refused.value).startswith(f"{tmp_path}/inc:3: ")

    @pytest.mark.parametrize("name", ["nothing", "", "sub", "pipe", "\\000"])
    def test_what_is_no_file_is_refused(self, tmp_path: Path, name: str) -> None:
        (tmp_path / "sub").mkdir()
        os.mkfifo(tmp_path / "pipe")
        with pytest.raises(ZoneFileError) as refused:
            compiled(tmp_path, HEAD + f"$INCLUDE {name}\n")
        assert refused.value.line == LINE and "\n" not in str(refused.value)

    def test_loops_and_towers_end(self, tmp_path: Path) -> None:
        (tmp_path / "a").write_text("$INCLUDE b\n")
        (tmp_path / "b").write_text("; one\n$INCLUDE a\n")
        with pytest.raises(ZoneFileError, match=r"/b:2: 'a' includes itself"):
            compiled(tmp_path, HEAD + "$INCLUDE a\n")
        for depth in range(includes.DEPTH + 2):
            (tmp_path / f"t{depth}").write_text(f"$INCLUDE t{depth + 1}\n")
        with pytest.raises(ZoneFileError, match="20 deep"):
            compiled(tmp_path, HEAD + "$INCLUDE t0\n")
        for depth in range(includes.DEPTH):
            (tmp_path / f"twice{depth}").write_text(f"$INCLUDE twice{depth + 1}\n" * 2)
        (tmp_path / f"twice{includes.DEPTH}").write_text("")
        with pytest.raises(ZoneFileError, match="more than 10000 files"):
            compiled(tmp_path, HEAD + "$INCLUDE twice1\n")


class TestGenerate:
    @pytest.mark.parametrize(
        "line",
        [
            "1-2",
            "1-2 h$",
            "1-2 h$ A",
            "2-1 h$ A 10.0.0.$",
            "1-2/0 h$ A 10.0.0.$",
            "x h$ A 10.0.0.$",
            "1-99999999999 h$ A 10.0.0.1",
            "0-2147483647 h$ A 10.0.0.1",
            "1-2 h${ A 10.0.0.1",
            "1-2 h${0,999} A 10.0.0.1",
            "1-2 h${-9,1,n} A 10.0.0.1",
            "1-2 h${0,1,z} A 10.0.0.1",
            "1-2 h$ A 10.0.0.1 10.0.0.2",
            "200-300 h$ A 10.0.0.$",
        ],
    )
    def test_a_bad_line_is_refused_with_its_line(self, tmp_path: Path, line: str) -> None:
        with pytest.raises(ZoneFileError) as refused:
            compiled(tmp_path, HEAD + f"$GENERATE {line}\n")
        assert refused.value.line == LINE

    def test_a_line_makes_no_more_than_its_bound(self) -> None:
        assert len(generate.counters(f"1-{generate.MOST}")) == generate.MOST
        with pytest.raises(ValueError, match="at most 1048576"):
            generate.counters(f"0-{generate.MOST}")
