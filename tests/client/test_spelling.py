"""How names, ports and addresses are spelt: whatever is typed is taken as it is, or refused in one line."""

import re
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from svcdns.client import Mistake, spelling
from svcdns.objects.syntax import address_errors, label_errors, unicast_errors

ODD = st.one_of(
    st.text(max_size=80),
    st.text("abzAZ09-_. ", max_size=80),
    st.text("0123456789abcdef.:/%[]", max_size=45),
    st.ip_addresses().map(str),
    st.builds("{}:{}".format, st.ip_addresses(v=4), st.integers(0, 99999)),
    st.builds("[{}]:{}".format, st.ip_addresses(v=6), st.integers(0, 99999)),
    st.builds("{}/{}".format, st.ip_addresses(), st.integers(0, 140)),
    st.builds("{}%{}".format, st.ip_addresses(v=6), st.text("eth0/", max_size=5)),
)


def said(wrong: pytest.ExceptionInfo[Mistake]) -> str:
    text = str(wrong.value)
    assert text.isprintable()
    assert len(text) < 400
    return text


@given(text=ODD)
def test_a_label_is_taken_or_one_that_would_be_is_proposed(text: str) -> None:
    if not label_errors(text):
        assert spelling.label("a name", text) == text
        return
    with pytest.raises(Mistake) as wrong:
        spelling.label("a name", text)
    if meant := re.search(r"did you mean (.*)\?$", said(wrong)):
        assert not label_errors(meant[1])


@given(text=ODD)
def test_an_address_is_taken_in_its_one_form_or_refused(text: str) -> None:
    if not address_errors(text) and not unicast_errors(str(ip_address(text))):
        assert spelling.address(text) == str(ip_address(text))
        return
    with pytest.raises(Mistake) as wrong:
        spelling.address(text)
    assert "no address" in said(wrong)


@given(number=st.integers())
def test_a_port_is_one_that_there_is(number: int) -> None:
    if 0 < number < 65536:
        spelling.port("http", number)
    else:
        with pytest.raises(Mistake, match=re.escape("allowed: 1..65535")):
            spelling.port("http", number)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("My Cache", "my-cache"),
        ("--my--cache--", "my-cache"),
        ("Caf\u00e9 au lait", "cafe-au-lait"),
        ("Gr\u00f6\u00dfe", "grosse"),
        ("a" * 62 + ".b", "a" * 62),
        ("\u540d\u524d", ""),
        ("...", ""),
    ],
)
def test_what_is_proposed(text: str, expected: str) -> None:
    with pytest.raises(Mistake) as wrong:
        spelling.label("a name", text)
    assert said(wrong).endswith(f"did you mean {expected}?" if expected else "of them")
