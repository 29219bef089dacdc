"""What `svcdns top` shows for a page of statistics, and what each key changes."""

from functools import reduce
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from svcdns.cli.top_screen import View, pressed, rows_of, screen


def row(name: str, count: int, failed: int = 0, seconds: float = 0.0) -> dict[str, Any]:
    return {"name": name, "count": count, "error": 0, "failed": failed, "seconds": seconds}


PAGE: dict[str, Any] = {
    "perSecond": {"10s": {"questions": 12.5, "rcodes": {}, "sources": {"own": 12.5}}},
    "last": {
        "1m": {
            "rcodes": {"NOERROR": 90, "SERVFAIL": 10},
            "durations": {"own": {"p50": 0.0001, "p99": 0.002}},
            "names": [row("often.example.", 60), row("slow.example.", 6, 1, 0.5), row("bad.test.", 3, 3)],
            "clients": [row("192.0.2.1", 69)],
            "namespaces": [row("shop", 5)],
            "nxdomain": [],
        }
    },
    "sample": 16,
    "lost": 0,
    "began": False,
}


def shown(*keys: str, width: int = 80, height: int = 24) -> list[str]:
    return list(screen(PAGE, "1m", after(*keys), width, height))


def after(*keys: str) -> View:
    return reduce(pressed, keys, View())


def names(*keys: str) -> list[str]:
    return [one["name"] for one in rows_of(PAGE, "1m", after(*keys))]


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ("", ["often.example.", "slow.example.", "bad.test."]),
        ("l", ["slow.example.", "often.example.", "bad.test."]),
        ("e", ["bad.test.", "slow.example.", "often.example."]),
        ("er", ["often.example.", "slow.example.", "bad.test."]),
        ("c", ["192.0.2.1"]),
        ("s", ["shop"]),
        ("m", []),
        ("sn/TEST\r", ["bad.test."]),
        ("/tesx\x7ft", ["bad.test."]),
        ("/test\x1b", ["often.example.", "slow.example.", "bad.test."]),
        ("/test\r\x1b", ["often.example.", "slow.example.", "bad.test."]),
    ],
)
def test_keys_choose_the_table_its_order_and_a_filter(keys: str, expected: list[str]) -> None:
    assert names(*keys) == expected


def test_q_ends_it_but_is_a_letter_in_a_filter() -> None:
    assert after("q").ended
    assert after(*"/q\r") == View(filter="q")
    assert after("").ended, "there is no terminal any more"


def test_space_pauses_until_it_is_pressed_again() -> None:
    assert (after(" ").paused, after(" ", " ").paused) == (True, False)
    assert any("PAUSED" in line for line in shown(" "))


def test_a_row_has_rate_time_failures_and_name() -> None:
    (line,) = (line for line in shown() if "slow.example." in line)
    assert line.split() == ["6", "0.1", "500.00", "1", "slow.example."]
    assert "12.5 questions a second; last 1m: NOERROR 90.0 %, SERVFAIL 10.0 %" in shown()[0]


def test_an_older_server_lacks_fields_and_a_table() -> None:
    last = {**PAGE["last"]["1m"], "names": [{"name": "a.", "count": 1, "error": 1}]}
    del last["namespaces"]
    page = {**PAGE, "last": {"1m": last}}
    assert any("~1" in line for line in screen(page, "1m", View(sort="failed"), 80, 24))
    assert rows_of(page, "1m", View("namespaces")) == []


@given(
    st.lists(
        st.sampled_from(["n", "c", "s", "m", "r", "l", "e", "/", " ", "\r", "\x1b", "\x1b[A", "\x00", "ü"])
    ),
    st.integers(1, 200),
    st.integers(1, 60),
)
def test_a_screen_never_leaves_its_size(keys: list[str], width: int, height: int) -> None:
    lines = shown(*keys, width=width, height=height)
    assert len(lines) <= max(height, 10)
    assert all(len(line) <= width and line.isprintable() for line in lines)
