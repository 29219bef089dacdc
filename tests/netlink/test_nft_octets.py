"""Octets of nf_tables without a kernel: what is written reads back, nonsense is Malformed."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from svcdns.netlink import nft_dump, nftables
from svcdns.netlink.nft_expressions import Verdict, lookup, value_data, verdict_data
from svcdns.netlink.nft_types import IPV4, IPV6, PORT, PROTOCOL, SLOT, Set, fields, padded, show
from svcdns.netlink.wire import Malformed, Received, attributes

TYPES = st.lists(st.sampled_from((IPV4, IPV6, PORT, PROTOCOL, SLOT)), min_size=1, max_size=5).map(tuple)
NAMES = st.text("abcxyz-_.019", min_size=1, max_size=30)
KEYS = st.binary(min_size=1, max_size=64)
VERDICTS = st.tuples(st.sampled_from((Verdict.GOTO, Verdict.JUMP)), NAMES) | st.sampled_from(
    ((Verdict.DROP, ""), (Verdict.RETURN, ""))
)


def received(payload: bytes) -> Received:
    """Return a message as the kernel sends it."""
    return Received(0, 0, 1, payload)


@given(st.lists(st.tuples(KEYS, KEYS), min_size=1, max_size=200))
def test_elements_read_back_as_they_were_written(pairs: list[tuple[bytes, bytes]]) -> None:
    elements = [nftables.element(key, value_data(value)) for key, value in pairs]
    found = []
    for message in nftables.add_elements(2, "t", "s", elements):
        found += nft_dump.elements_in(received(message.payload))
    assert [(one.key, one.value) for one in found] == pairs


@given(KEYS, VERDICTS)
def test_verdicts_and_ranges_read_back(key: bytes, verdict: tuple[Verdict, str]) -> None:
    elements = [nftables.element(key, verdict_data(*verdict)), nftables.range_element(key, key[::-1])]
    (message,) = nftables.add_elements(2, "t", "s", elements)
    one, other = nft_dump.elements_in(received(message.payload))
    assert (one.key, one.verdict) == (key, verdict)
    assert (other.key, other.key_end) == (key, key[::-1])


@given(NAMES, st.integers(0, 7), st.text(max_size=300))
def test_tables_read_back(name: str, flags: int, comment: str) -> None:
    message = nftables.table(2, name, flags, comment)
    assert nft_dump.table_in(received(message.payload))[:2] == (name, flags)


@given(st.binary(max_size=200) | st.binary(max_size=60).map(lambda some: bytes(4) + some))
def test_nonsense_is_malformed_and_nothing_else(octets: bytes) -> None:
    for read in (nft_dump.table_in, nft_dump.elements_in):
        with contextlib.suppress(Malformed):
            read(received(octets))


@given(st.data())
def test_a_damaged_answer_is_malformed_and_nothing_else(data: st.DataObject) -> None:
    elements = [nftables.element(b"key!", verdict_data(Verdict.GOTO, "chain")), nftables.element(b"more")]
    (message,) = nftables.add_elements(2, "t", "s", elements)
    octets = bytearray(message.payload)
    for _ in range(data.draw(st.integers(1, 3))):
        octets[data.draw(st.integers(0, len(octets) - 1))] = data.draw(st.integers(0, 255))
    end = data.draw(st.integers(0, len(octets)))
    for some in (bytes(octets), bytes(octets[:end])):
        with contextlib.suppress(Malformed):
            nft_dump.elements_in(received(some))


@given(TYPES, st.data())
def test_a_key_splits_into_its_fields(types: tuple[object, ...], data: st.DataObject) -> None:
    octets = data.draw(st.binary(min_size=padded(types), max_size=padded(types)))  # type: ignore[arg-type]
    found = fields(types, octets)  # type: ignore[arg-type]
    assert [len(one) for one in found] == [kind.octets for kind in types]  # type: ignore[attr-defined]
    assert show(types, octets).count(" . ") == len(types) - 1  # type: ignore[arg-type]
    with pytest.raises(Malformed):
        fields(types, octets + b"\0")  # type: ignore[arg-type]


def test_no_attribute_is_longer_than_it_may_be() -> None:
    form = nftables.ElementForm(Set("s", (IPV6, IPV6, IPV6, IPV6)))
    messages = list(nftables.add_elements(2, "t", "s", (form.element(bytes(64)) for _ in range(5000))))
    for message in messages:
        assert all(len(value) < 0xFFFF for _, value in attributes(message.payload[4:]))
    assert sum(len(nft_dump.elements_in(received(one.payload))) for one in messages) == 5000


def test_there_are_sixteen_words_of_registers() -> None:
    lookup(15, "s")
    with pytest.raises(ValueError, match="16 words"):
        lookup(16, "s")
