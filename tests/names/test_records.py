"""Single RRs as they are stored: another implementation reads out of them what was put in."""

import dns.rdata
import pytest
from dns.rdatatype import CNAME, TXT, RdataType
from dnslib import DNSError
from hypothesis import given
from hypothesis import strategies as st

from svcdns.names.records import cname_rr, txt_rr
from svcdns.wire import header

LABELS = st.from_regex(r"[A-Za-z0-9_]([A-Za-z0-9-]{0,20}[a-z0-9])?", fullmatch=True)
PLAIN = st.characters(codec="ascii", exclude_categories=["C"], exclude_characters='"\\')


def read(rr: bytes, rrtype: RdataType) -> str:
    """Return the RDATA of a stored RR as dnspython prints it, once its head is what it should be."""
    rdata = rr[header.POINTED_RR :]
    assert rr[:2] == header.QUESTION_NAME
    assert rr[2:] == rrtype.to_bytes(2) + b"\0\1" + (5).to_bytes(4) + len(rdata).to_bytes(2) + rdata
    return dns.rdata.from_wire("IN", rrtype, rdata, 0, len(rdata)).to_text()


@given(st.lists(LABELS, min_size=1, max_size=8), st.booleans())
def test_a_cname_leads_to_the_name_as_it_was_written(labels: list[str], absolute: bool) -> None:
    target = ".".join(labels)
    assert read(cname_rr(target + "." * absolute, 5), CNAME) == f"{target}."


@given(st.text(PLAIN, max_size=255))
def test_a_txt_holds_the_text(text: str) -> None:
    assert read(txt_rr(text, 5), TXT) == f'"{text}"'


def test_a_text_that_is_too_long_for_a_character_string_is_not_cut() -> None:
    with pytest.raises(DNSError):
        txt_rr("a" * 256, 5)
