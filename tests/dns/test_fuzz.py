"""Octets that nobody wrote: the answerer never raises, never hangs, and answers the next question."""

import random
from itertools import product
from time import process_time

import dns.message
import dns.rcode
from forward.unit.outside_names import RIGHTS, cache_of, kinds
from hypothesis import given, settings
from hypothesis import strategies as st
from toolbox.answerer_harness import AnswererHarness, Z, rrset
from toolbox.question_packets import NAMES, OPTS, TYPES, mutated, question

from svcdns.cache.store import now
from svcdns.dns import access, stats
from svcdns.dns.answer import Answerer
from svcdns.dns.fast_path import FastPath
from svcdns.dns.no_reply import HAND_OVER, NOT_PLAIN, SILENCE, Answer
from svcdns.dns.stats import TCP, UDP

PACKETS = 120_000
BATCH = 500
HANG_SECONDS = 55
"""Of CPU time."""
UPDATE = 5 << 3


def check(packet: bytes, reply: Answer, transport: int, rights: int = access.NAMES) -> None:
    """Check what holds for every reply."""
    if len(packet) < 12 or packet[2] & 0x80:
        assert reply is SILENCE
        return
    assert reply is not SILENCE
    if reply is HAND_OVER:
        assert rights & access.FORWARD
        assert packet[2] & 0x79 == 0x01, "a question that wants recursion"
        return
    assert reply[:2] == packet[:2]
    assert reply[2] & 0xF9 == 0x80 | packet[2] & 0x79
    assert reply[3] & 0xE0 == (0x80 if rights & access.FORWARD else 0)
    assert len(reply) <= (1232 if transport == UDP else 65535)


def test_a_hundred_thousand_packets(world: AnswererHarness) -> None:
    """By the compiled path and the one in Python, half of them each."""
    seed = random.randrange(1 << 32)
    rnd = random.Random(seed)
    began = process_time()
    known = question(f"web.default.svc.{Z}", 1)
    outside = ("www.example.com", "local", ".")
    caches = [cache_of(dict.fromkeys(outside, kind), now()) for kind in kinds("example.com")]
    cache: dict[bytes, bytes] = {}
    answer = Answerer(world.counters, cache=lambda key: cache.get(key), forwards=True).answer
    for start in range(0, PACKETS, BATCH):
        cache = rnd.choice(caches)
        snapshot = world.snapshots.begin()
        for _ in range(BATCH):
            packet = rnd.randbytes(rnd.randrange(80)) if rnd.random() < 0.1 else mutated(rnd)
            transport = UDP if rnd.random() < 0.8 else TCP
            rights = rnd.choice(RIGHTS)
            reply = answer(packet, snapshot, transport, rights, left=rnd.random() < 0.5)
            check(packet, reply, transport, rights)
            if isinstance(reply, bytes) and rnd.random() < 0.05 and reply[2] & 0x78 != UPDATE:
                dns.message.from_wire(reply)  # raises for what is no message
        assert (answer(known, snapshot) or b"").endswith(b"\x0a\x60\0\x0a"), f"seed {seed}, batch {start}"
        snapshot.txn.abort()
    assert world.counters.slots[stats.PANICS] == 0, f"seed {seed}"
    assert process_time() - began < HANG_SECONDS


@settings(max_examples=2000)
@given(st.binary(max_size=600), st.sampled_from([UDP, TCP]))
def test_any_octets(shared_world: AnswererHarness, packet: bytes, transport: int) -> None:
    panics = shared_world.counters.slots[stats.PANICS]
    check(packet, shared_world.raw(packet, transport), transport)
    assert shared_world.counters.slots[stats.PANICS] == panics


LABEL = st.one_of(
    st.sampled_from([b"web", b"WEB", b"default", b"svc", b"pod", b"cluster", b"local", b"_tcp", b"_http"]),
    st.binary(min_size=1, max_size=63),
)


@settings(max_examples=2000)
@given(
    st.lists(LABEL, max_size=8),
    st.sampled_from([b"", b"\7cluster\5local", b"\3svc\7Cluster\5local", b"\2in\7in-addr\4arpa"]),
    st.integers(0, 65535),
    st.sampled_from([1, 3, 255]),
    st.sampled_from(OPTS),
    st.integers(0, 0xFFFF),
)
def test_any_name(
    shared_world: AnswererHarness,
    labels: list[bytes],
    tail: bytes,
    rrtype: int,
    rrclass: int,
    opt: bytes,
    flags: int,
) -> None:
    name = b"".join(bytes((len(label),)) + label for label in labels) + tail + b"\0"
    head = b"\x11\x22" + flags.to_bytes(2) + b"\0\1\0\0\0\0\0" + (b"\1" if opt else b"\0")
    packet = head + name + rrtype.to_bytes(2) + rrclass.to_bytes(2) + opt
    panics = shared_world.counters.slots[stats.PANICS]
    reply = shared_world.raw(packet)
    check(packet, reply, UDP)
    assert shared_world.counters.slots[stats.PANICS] == panics
    if isinstance(reply, bytes):
        if reply[2] & 0x78 != UPDATE:  # which dnspython reads in another way
            dns.message.from_wire(reply)
        if len(name) > 255:
            assert reply[3] & 0xF in (dns.rcode.FORMERR, dns.rcode.NOTIMP)


def test_plain_path_says_what_the_exact_one_says(world: AnswererHarness) -> None:
    """Octet for octet, and in every counter, for the same random numbers."""
    zone = world.file_zone("example.org", wildcards=True)
    with world.writing():
        world.put_file(zone, "www.example.org", rrset("A", "192.0.2.1"), rrset("TXT", '"x"'))
        world.put_file(zone, "*.w.example.org", rrset("A", "192.0.2.2"))
        world.put_file(zone, "alias.example.org", rrset("CNAME", "www.example.org."))
        world.registry_zone("192.in-addr.arpa", "reverse", fallthrough=True)
        world.file_zone("168.192.in-addr.arpa")
    more = ["www.example.org", "a.w.example.org", "w.example.org", "alias.example.org", "no.example.org"]
    more += ["1.168.192.in-addr.arpa", "1.192.in-addr.arpa", "192.in-addr.arpa", "x.0.96.10.in-addr.arpa"]
    exact = Answerer(stats.Stats(), identity="worker-0")
    exact._fast = lambda *_: NOT_PLAIN  # type: ignore[method-assign,assignment]
    taken = 0
    for pods in ("verified", "insecure"):
        world.serve(pods=pods)
        snapshot = world.snapshots.begin()
        for name, rrtype, opt, transport in product([*NAMES, *more], TYPES, OPTS, (UDP, TCP)):
            packet = question(name, rrtype, 1, opt, 0x0110)
            random.seed(packet)
            one = world.answerer.answer(packet, snapshot, transport)
            random.seed(packet)
            assert one == exact.answer(packet, snapshot, transport), (name, rrtype, opt, transport)
            assert exact._view is not None
            taken += FastPath(stats.Stats(), 1232).answer(packet, exact._view, transport) is not NOT_PLAIN
        snapshot.txn.abort()
    assert taken > 500
    assert exact.counters.slots == world.counters.slots
