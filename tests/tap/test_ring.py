"""The ring: what one process writes without a lock, others read, and they know what they missed."""

from hypothesis import given
from hypothesis import strategies as st

from svcdns.tap.memory import Tap
from svcdns.tap.ring import HEAD, RECORDS, Ring, RingReader

OCTETS = 1024
PAYLOADS = st.binary(max_size=300)


def made(octets: int = OCTETS) -> Ring:
    return Tap.create(1, octets).ring(0)


@given(st.lists(st.one_of(st.tuples(PAYLOADS, st.integers(1, 64)), st.none()), max_size=60))
def test_each_record_is_read_once_and_in_order_or_is_counted_as_lost(
    steps: list[tuple[bytes, int] | None],
) -> None:
    ring = made()
    reader = RingReader(ring)
    reader.go_on()
    written: dict[int, tuple[bytes, int]] = {}
    read, lost, numbered = [], 0, 0
    for step in [*steps, None, (b"last", 1), None]:  # the last block tells what was lost before it
        if step is None:
            blocks, missed = reader.read()
            while blocks:
                read += blocks
                lost += missed
                blocks, missed = reader.read()
        else:
            ring.append(*step)
            written[numbered] = step
            numbered += step[1]
    assert [block.first for block in read] == sorted({block.first for block in read})
    assert all(written[block.first] == (block.payload, block.records) for block in read)
    assert sum(block.records for block in read) + lost == numbered


@given(st.lists(PAYLOADS, max_size=30), st.integers(0, OCTETS))
def test_what_was_written_last_is_found_backwards(payloads: list[bytes], octets: int) -> None:
    ring = made()
    for payload in payloads:
        ring.append(payload, 1)
    kept = [payload for payload in payloads if len(payload) + 32 <= OCTETS // 4]
    found = [block.payload for block in RingReader(ring).recent(octets)]
    assert found == kept[::-1][: len(found)]
    if octets == OCTETS and kept:
        assert found


def test_a_block_that_is_larger_than_a_part_of_the_ring_is_counted_and_not_written() -> None:
    ring = made()
    reader = RingReader(ring)
    reader.go_on()
    ring.append(bytes(OCTETS), 7)
    assert reader.read() == ([], 0)
    ring.append(b"x", 1)
    [block], lost = reader.read()
    assert (block.payload, lost) == (b"x", 7)


def test_a_writer_goes_on_where_a_former_one_died_and_so_does_a_reader() -> None:
    tap = Tap.create(2, OCTETS)
    first = tap.ring(1)
    reader = RingReader(first)
    reader.go_on()
    first.append(b"one", 2)
    reader.read()
    reader.leave_place()
    first.append(b"two", 3)
    after = tap.ring(1)  # as another process has it
    after.append(b"three", 4)
    successor = RingReader(after)
    successor.go_on()
    blocks, lost = successor.read()
    assert [(block.payload, block.first) for block in blocks] == [(b"two", 2), (b"three", 5)]
    assert lost == 0


def test_half_a_block_is_not_taken_for_one() -> None:
    ring = made()
    reader = RingReader(ring)
    reader.go_on()
    ring.append(b"whole", 1)
    ring.octets[3] ^= 1  # as a reader may see it where stores come in another order
    assert reader.read() == ([], 0)
    assert RingReader(ring).recent(OCTETS) == []
    ring.append(b"next", 1)
    [block], lost = reader.read()
    assert (block.payload, lost) == (b"next", 1)


def test_a_block_that_is_being_overwritten_is_not_believed() -> None:
    ring = made()
    reader = RingReader(ring)
    reader.go_on()
    ring.append(b"old", 1)
    ring.numbers[0] = OCTETS + 40  # RESERVED: the writer is about to go over it
    assert reader.read()[0] == []
    assert RingReader(ring).recent(OCTETS) == []


def test_numbers_are_those_of_the_writer() -> None:
    ring = made()
    ring.append(b"abc", 5)
    assert (ring.numbers[RECORDS], ring.numbers[HEAD]) == (5, 3 + 32)
