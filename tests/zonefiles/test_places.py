"""Where the records of a name stand: file and line, as the files are now."""

from pathlib import Path

import pytest

from svcdns.wire.key import key_of
from svcdns.zonefiles.places import MOST_OCTETS, Place, Places
from svcdns.zonefiles.zone_rows import ZoneRecord

A, TXT = 1, 16
TEXT = """$TTL 60
@ SOA ns hostmaster 1 2 3 4 5
@ NS ns
www (
    A 192.0.2.1 )
  TXT "2"
$INCLUDE more
alias CNAME www
"""
ZONE = ZoneRecord("a.test.zone", b"", "a.test.", 1, 1, 5, False, False, included=("more",))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "a.test.zone").write_text(TEXT)
    (tmp_path / "more").write_text("\nmail A 192.0.2.2\n")
    return tmp_path


@pytest.mark.parametrize(
    ("owner", "rrtype", "expected"),
    [
        ("www.a.test", A, Place("a.test.zone", 4)),
        ("www.a.test", TXT, Place("a.test.zone", 6)),
        ("mail.a.test", A, Place("more", 2)),
        ("alias.a.test", A, Place("a.test.zone", 8)),
        ("none.a.test", A, Place("a.test.zone", 2)),
    ],
)
def test_a_name_has_a_file_and_a_line(folder: Path, owner: str, rrtype: int, expected: Place) -> None:
    assert Places(folder).find(ZONE, key_of(owner), rrtype) == expected


def test_a_file_that_was_changed_is_read_again(folder: Path) -> None:
    places, mail = Places(folder), key_of("mail.a.test")
    assert places.find(ZONE, mail, A) == Place("more", 2)
    (folder / "more").write_text("\n\n\nmail A 192.0.2.2\n")
    assert places.find(ZONE, mail, A) == Place("more", 4)


@pytest.mark.parametrize(
    "text",
    [None, "", "\0\xff", "@ SOA (", "$INCLUDE nothing", f"; {'x' * MOST_OCTETS}\n@ NS ns", "$INCLUDE large"],
)
def test_of_what_cannot_be_read_only_the_file_is_said(folder: Path, text: str | None) -> None:
    file = folder / "a.test.zone"
    file.unlink()
    (folder / "large").write_text("; " + "x" * MOST_OCTETS)
    if text is not None:
        file.write_text(text)
    assert Places(folder).find(ZONE, key_of("www.a.test"), A) == Place("a.test.zone")
