"""A clock that jumps: SOA serials only ever move forward (RFC 1982), and nothing else looks at it.

The machine's clock is left alone: it is the registry that is given another one.
"""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from toolbox.builders import service
from toolbox.registry_harness import RegistryHarness

from svcdns.objects.kinds import SERVICE
from svcdns.registry import commit
from svcdns.registry.dns_rows import next_serial
from svcdns.registry.requests import WriteOptions
from svcdns.wire.key import key_of

SPACE = 1 << 32
DAY = 86_400
NOW = 1_800_000_000

serials = st.integers(0, SPACE - 1)
clocks = st.integers(0, 1 << 40)


def is_newer(serial: int, than: int) -> bool:
    """RFC 1982, section 3.2: whether a secondary takes `serial` for newer."""
    return 0 < (serial - than) % SPACE < SPACE // 2


@given(serial=serials, clock=clocks)
def test_the_next_serial_is_always_newer(serial: int, clock: int) -> None:
    assert is_newer(next_serial(serial, clock), serial)


@given(clock=clocks, jumps=st.lists(st.integers(-(1 << 33), 1 << 33), max_size=20))
def test_it_is_newer_after_any_jumps_of_the_clock(clock: int, jumps: list[int]) -> None:
    serial = next_serial(None, clock)
    for jump in jumps:
        clock = max(0, clock + jump)
        following = next_serial(serial, clock)
        assert is_newer(following, serial)
        serial = following


@pytest.mark.parametrize(
    ("serial", "clock", "following"),
    [
        (None, NOW, NOW),
        (NOW, NOW, NOW + 1),
        (NOW, NOW + 5, NOW + 5),
        (NOW, NOW - DAY, NOW + 1),
        (NOW + DAY, NOW, NOW + DAY + 1),
        (SPACE - 1, SPACE - DAY, 0),
        (0, SPACE // 2, 1),
        (SPACE - 1, SPACE + 7, 7),
        (0, SPACE, 1),
    ],
)
def test_serials_by_example(serial: int | None, clock: int, following: int) -> None:
    assert next_serial(serial, clock) == following


def test_writes_go_on_when_the_clock_is_set_back(run: Callable[..., Any], monkeypatch: Any) -> None:
    """A start with a clock set back: serials move on from the stored one, writes are as always."""
    seen: list[int] = []

    def writes(*names: str) -> Callable[[RegistryHarness], Any]:
        async def work(running: RegistryHarness) -> None:
            for name in names:
                await running.registry.create(SERVICE, "default", service(name), WriteOptions())
                seen.append(serial_of(running))
                assert running.rrs(f"{name}.default.svc.cluster.local", "A")

        return work

    for clock, names in ((NOW, "ab"), (NOW - 40 * DAY, "cd"), (NOW + 40 * DAY, "ef")):
        monkeypatch.setattr(commit.time, "time", lambda clock=clock: float(clock))
        run(writes(*names))
    assert all(is_newer(second, first) for first, second in pairwise(seen)), seen
    assert seen[-2] == NOW + 40 * DAY


def serial_of(running: RegistryHarness) -> int:
    """Return the SOA serial of the cluster domain."""
    (soa,) = running.rrs("cluster.local", "SOA")
    assert running.row("cluster.local") is not None, key_of("cluster.local")
    return int(soa.split()[2])
