"""What is ours is never handed over and never looked for in the cache, and nothing is for who may not ask."""

from collections.abc import Iterator

import pytest
from forward.unit.outside_names import (
    ABOVE,
    BOTH,
    FALLS,
    OPTS,
    RD,
    RIGHTS,
    TYPES,
    every_zone,
    kinds,
    question,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from toolbox.answerer_harness import AnswererHarness, Z

from svcdns.cache.store import now
from svcdns.dns import stats
from svcdns.dns.access import FORWARD, NAMES, TRANSFER
from svcdns.dns.answer import Answerer
from svcdns.dns.no_reply import HAND_OVER, SILENCE
from svcdns.dns.stats import TCP, UDP
from svcdns.wire import codes
from svcdns.wire.key import key_of, key_of_labels

ORIGINS = [Z, "10.in-addr.arpa", FALLS, f"168.{FALLS}", "corp.example", "cut.example"]
LABEL = st.one_of(
    st.sampled_from(
        [
            b"web",
            b"ext",
            b"away",
            b"default",
            b"svc",
            b"SVC",
            b"pod",
            b"_tcp",
            b"1",
            b"8",
            b"9",
            b"168",
            b"out",
            b"sub",
        ]
    ),
    st.binary(min_size=1, max_size=63),
)
FLAGS = st.integers(0, 0xFFFF).map(lambda flags: flags & ~0xF800)  # a question of opcode QUERY
ALIASES = {
    key_of(name)
    for service in ("ext", "away")
    for name in (f"{service}.default.svc.{Z}", f"{service}.default.{Z}")
} | {key_of("out.corp.example")}
"""Those whose targets are outside."""
DELEGATED = key_of("sub.cut.example")


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AnswererHarness]:
    with every_zone(tmp_path_factory.mktemp("full")) as world:
        yield world


def labels_of(name: str) -> list[bytes]:
    return [label.encode() for label in name.split(".")]


def may_leave(key: bytes) -> bool:
    """Say whether upstreams may hear of a name of ours, or of its target."""
    if key in ALIASES or key.startswith(DELEGATED):
        return True
    others = (f"8.{FALLS}", f"168.{FALLS}")
    if key == key_of(f"1.1.1.{FALLS}"):
        return False
    return key.startswith(key_of(FALLS)) and not key.startswith(tuple(map(key_of, others)))


@settings(max_examples=800)
@given(
    st.lists(LABEL, max_size=6),
    st.sampled_from(ORIGINS),
    st.integers(0, 65535) | st.sampled_from([*TYPES.values()]),
    FLAGS,
    st.sampled_from(OPTS),
    st.sampled_from(RIGHTS),
    st.sampled_from([UDP, TCP]),
    st.booleans(),
)
def test_names_of_ours_never_leave(
    full: AnswererHarness,
    labels: list[bytes],
    origin: str,
    rrtype: int,
    flags: int,
    opt: bytes,
    rights: int,
    transport: int,
    everything_cached: bool,
) -> None:
    labels = labels + labels_of(origin)
    name = b"".join(bytes((len(label),)) + label for label in labels) + b"\0"
    looked_up: list[bytes] = []

    def cache(key: bytes) -> bytes | None:
        looked_up.append(key)
        return kinds("example.com", now())["fresh"] if everything_cached else None

    counters = stats.Stats()
    answerer = Answerer(counters, cache=cache, forwards=True)
    snapshot = full.snapshots.begin()
    reply = answerer.answer(question(name, rrtype, flags, opt), snapshot, transport, rights)
    snapshot.txn.abort()
    assert not counters.slots[stats.PANICS]
    assert reply is not SILENCE
    leaves = reply is HAND_OVER or bool(looked_up)
    if leaves:
        assert flags & RD
        assert rights & BOTH == BOTH
        assert may_leave(key_of_labels(labels))
    elif reply[3] & 0xF == codes.NXDOMAIN and flags & RD and rights & BOTH == BOTH:
        assert not may_leave(key_of_labels(labels)) or origin == f"168.{FALLS}"
    if reply is not HAND_OVER:
        assert bool(reply[3] & 0x80) is bool(rights & FORWARD)


@settings(max_examples=800)
@given(
    st.lists(LABEL, max_size=5),
    st.sampled_from([*ORIGINS, *ABOVE[:-1], "example.com", "com"]),
    st.integers(0, 65535) | st.sampled_from([*TYPES.values()]),
    FLAGS,
    st.sampled_from(OPTS),
    st.sampled_from([0, NAMES, TRANSFER, NAMES | TRANSFER]) | st.none(),
    st.sampled_from([UDP, TCP]),
)
def test_who_may_not_or_does_not_want_to_is_never_handed_over(
    full: AnswererHarness,
    labels: list[bytes],
    tail: str,
    rrtype: int,
    flags: int,
    opt: bytes,
    rights: int | None,
    transport: int,
) -> None:
    """No rights is a client that may, and does not set RD."""
    if rights is None:
        rights, flags = BOTH, flags & ~RD
    name = b"".join(bytes((len(label),)) + label for label in labels + labels_of(tail)) + b"\0"
    counters = stats.Stats()

    def never(_: bytes) -> bytes | None:
        raise AssertionError("the cache is for those who may")

    answerer = Answerer(counters, cache=never, forwards=True)
    snapshot = full.snapshots.begin()
    reply = answerer.answer(question(name, rrtype, flags, opt), snapshot, transport, rights)
    snapshot.txn.abort()
    assert isinstance(reply, bytes)
    assert not counters.slots[stats.PANICS]
    assert bool(reply[3] & 0x80) is bool(rights & FORWARD)
