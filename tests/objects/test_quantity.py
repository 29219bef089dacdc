"""Quantities: what Go reads and writes of them, recorded from k8s.io/apimachinery."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from svcdns.objects.quantity import FORMAT, NUMERIC, SUFFIX, amount, canonical

WRITTEN = {
    "0": "0",
    "00": "0",
    "-0": "0",
    "1": "1",
    "+1": "+1",
    "-1": "-1",
    "01": "01",
    ".5": "500m",
    "1.": "1.",
    "1.5": "1500m",
    "100m": "100m",
    "1000m": "1",
    "1000": "1k",
    "1500": "1500",
    "123456000": "123456k",
    "0.1": "100m",
    "1e3": "1e3",
    "1e4": "10e3",
    "1E3": "1E3",
    "12E": "12E",
    "1e-9": "1e-9",
    "1e-12": "1e-9",
    "0.0000000001": "1n",
    "-0.0000000001": "-1n",
    "1.5Gi": "1536Mi",
    "0.5Gi": "512Mi",
    "1024": "1024",
    "1024Ki": "1Mi",
    "8Ki": "8Ki",
    "0.1Ki": "102400m",
    "1024Ei": "9223372036854775807",
    "16Ei": "9223372036854775807",
    " 1 ": "1",
    "m": "0",
    "+": "0",
    ".": "0",
}
REFUSED = {
    "": FORMAT,
    "abc": FORMAT,
    "1.5 Gi": FORMAT,
    "1.2.3": FORMAT,
    "1,5": FORMAT,
    "--1": SUFFIX,
    "1K": SUFFIX,
    "1Kib": FORMAT,
    "1mm": SUFFIX,
    "1e": SUFFIX,
    "i": SUFFIX,
    "Pi": NUMERIC,
    "e-12": NUMERIC,
    "\u0661": FORMAT,
    "9" * 200: FORMAT,
    "1e999999999999": SUFFIX,
    "1e2000": SUFFIX,
}


@pytest.mark.parametrize(("text", "written"), WRITTEN.items())
def test_written(text: str, written: str) -> None:
    assert canonical(text) == written


@pytest.mark.parametrize(("text", "words"), REFUSED.items())
def test_refused(text: str, words: str) -> None:
    with pytest.raises(ValueError) as caught:
        canonical(text)
    assert str(caught.value) == words


@given(st.from_regex(r"\A[+-]?[0-9]{0,20}(\.[0-9]{0,12})?([numkMGTPE]|[KMGTPE]i|[eE][+-]?[0-9]{1,2})?\Z"))
def test_what_is_written_reads_the_same(text: str) -> None:
    try:
        written = canonical(text)
    except ValueError:
        return
    assert canonical(written) == written
    assert abs(amount(written)) <= max(abs(amount(text)) + 1, 2**63)
