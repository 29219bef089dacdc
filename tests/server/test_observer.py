"""The observer by itself: it reads all that is left, goes on where one was, and knows what it missed."""

import asyncio
from pathlib import Path

from tap.recording import CLIENT, question, reply_to

from svcdns.config.sections import Config
from svcdns.config.seeing import DnstapConfig, QueryLogConfig, TapConfig
from svcdns.dns import stats
from svcdns.server.observer import _Observer
from svcdns.server.rates import Rates
from svcdns.server.tapping import create, is_always_wanted, sampling
from svcdns.tap.memory import Tap
from svcdns.tap.recorder import Recorder

PACKET = question()
REPLY = reply_to(PACKET)


def config(path: Path) -> Config:
    return Config(query_log=QueryLogConfig(path=str(path)), tap=TapConfig(octets=1 << 20))


def tap_of(given: Config) -> Tap:
    made = create(given, 1)
    assert made is not None
    return made


def record(tap: Tap, ring: int, count: int) -> None:
    recorder = Recorder(tap.ring(ring), wanted=lambda: 1)
    for _ in range(count // 64):
        recorder.record(0, 1, [(PACKET, CLIENT)] * 64, [(REPLY, CLIENT)] * 64)


async def observed(tap: Tap, given: Config) -> None:
    """Observe to the end."""
    stop = asyncio.Event()
    stop.set()
    observer = _Observer(tap, given)
    await observer._read()
    await observer.run(stop)


async def test_all_that_stands_in_the_rings_is_read_and_nothing_twice(tmp_path: Path) -> None:
    given = config(tmp_path / "log")
    tap = tap_of(given)
    record(tap, 0, 6400)
    record(tap, 1, 640)
    await observed(tap, given)
    await observed(tap, given)
    assert len((tmp_path / "log").read_text().splitlines()) == 7040
    assert (tap.get("records"), tap.get("lines"), tap.get("lost")) == (7040, 7040, 0)


async def test_what_was_overwritten_is_counted(tmp_path: Path) -> None:
    given = config(tmp_path / "log")
    tap = tap_of(given)
    record(tap, 0, 64_000)
    await observed(tap, given)
    record(tap, 0, 64)
    await observed(tap, given)
    assert tap.get("lost") > 40_000
    assert tap.get("lost") + tap.get("records") == 64_064


async def test_lines_that_cannot_be_written_are_counted() -> None:
    given = config(Path("/dev/full"))
    tap = tap_of(given)
    record(tap, 0, 640)
    await observed(tap, given)
    assert (tap.get("lines"), tap.get("lines_lost")) == (0, 640)


def test_one_of_how_many_is_recorded_follows_from_who_wants_it() -> None:
    tap = Tap.create(1, 4096)

    def now(**sections: object) -> int:
        return sampling(Config(**sections), tap)()  # type: ignore[arg-type]

    log = QueryLogConfig(path="stderr", sample=4)
    before = [
        now(),
        now(tap=TapConfig(record="always", sample=8)),
        now(query_log=log),
        now(query_log=log, dnstap=DnstapConfig(to="unix:/x", sample=2)),
        now(tap=TapConfig(record="never"), query_log=log),
    ]
    tap.look()
    assert before == [0, 8, 4, 2, 4]
    assert [now(), now(query_log=log), now(tap=TapConfig(record="never"))] == [16, 4, 0]
    assert not is_always_wanted(Config())
    assert create(Config(tap=TapConfig(record="never")), 1) is None


def test_rates_are_those_of_the_last_seconds() -> None:
    rates, totals = Rates(), [0] * stats.SLOTS
    own = stats.slot(stats.CLUSTER, stats.UDP, 1, stats.OK)
    forwarded = stats.slot(stats.FORWARD, stats.UDP, 1, stats.NXDOMAIN)
    for second in range(120):
        rates.see(totals, float(second))
        totals[own] += 100 if second < 100 else 10
        totals[forwarded] += 4
        totals[stats.CACHE_HITS] += 3
    shown = rates.shown()
    assert shown["1s"]["questions"] == 14
    assert shown["10s"]["sources"] == {"own": 10, "cache": 3, "forward": 1}
    assert shown["10s"]["rcodes"] == {"NOERROR": 10, "NXDOMAIN": 4}
    assert 14 < shown["60s"]["questions"] < 104
