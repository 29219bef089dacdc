"""Durations as Go reads them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from svcdns.objects.durations import seconds_of


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30s", 30),
        ("1m30s", 90),
        ("1h0m0s", 3600),
        ("1.5h", 5400),
        ("500ms", 0.5),
        ("+5s", 5),
        ("-5s", -5),
        ("0", 0),
        ("1s1s", 2),
        (".5s", 0.5),
        ("1.s", 1),
        ("1500us", 0.0015),
        ("1500µs", 0.0015),
    ],
)
def test_read(text: str, seconds: float) -> None:
    assert seconds_of(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text", ["", "30", "s", "30 s", "30S", "1d", ".s", "--1s", "1s ", "٣s", "1e3s", "1s" * 100, "+", "nan"]
)
def test_refused(text: str) -> None:
    with pytest.raises(ValueError):
        seconds_of(text)


@given(st.integers(0, 23), st.integers(0, 59), st.integers(0, 59))
def test_parts_add_up(hours: int, minutes: int, seconds: int) -> None:
    total = hours * 3600 + minutes * 60 + seconds
    assert seconds_of(f"{hours}h{minutes}m{seconds}s") == pytest.approx(total)
