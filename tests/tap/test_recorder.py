"""Recording: nothing while nobody wants to know, else whole messages, a part of them or all."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tap.recording import CLIENT, Recording, question, reply_to

from svcdns.tap.recorder import Recorder


def test_nothing_is_recorded_while_nobody_wants_to_know() -> None:
    world = Recording(sample=0)
    world.recorder.record(0, 1, [(question(), CLIENT)], [(b"reply", CLIENT)])
    assert world.records() == []
    world.sample = 1
    world.recorder.refresh()
    world.recorder.record(0, 1, [(question(), CLIENT)], [(reply_to(question()), CLIENT)])
    assert len(world.records()) == 1


def test_without_a_ring_nothing_is_recorded() -> None:
    recorder = Recorder(wanted=lambda: 1)
    recorder.record(0, 1, [(question(), CLIENT)], [(b"", CLIENT)])
    assert recorder.sample == 0


@given(st.lists(st.booleans(), max_size=64))
def test_questions_without_a_reply_shift_nothing(answered: list[bool]) -> None:
    world = Recording()
    clients = [("192.0.2.1", 1000 + number) for number in range(len(answered))]
    names = [f"n{number}.example." for number in range(len(answered))]
    questions = [(question(name), client) for name, client in zip(names, clients, strict=True)]
    replies = [
        (reply_to(packet), client)
        for (packet, client), wanted in zip(questions, answered, strict=True)
        if wanted
    ]
    world.recorder.record(0, 1, questions, replies)
    found = world.records()
    expected = [
        (name, client[1]) for name, client, wanted in zip(names, clients, answered, strict=True) if wanted
    ]
    assert [(record.name, record.port) for record in found] == expected
    assert all(record.query[:2] == record.reply[:2] for record in found)


@pytest.mark.parametrize("batch", [1, 5, 64])
def test_each_question_has_the_same_chance(batch: int) -> None:
    sample, world = 4, Recording(sample=4)
    packet = question()
    reply, seen, rounds = reply_to(packet), [0] * batch, 24_000 // batch
    for _ in range(rounds):
        clients = [("192.0.2.1", number) for number in range(batch)]
        world.recorder.record(0, 1, [(packet, one) for one in clients], [(reply, one) for one in clients])
        for record in world.records():
            assert record.sample == sample
            seen[record.port] += 1
    assert sum(seen) == pytest.approx(rounds * batch / sample, rel=0.1)
    expected = rounds / sample
    assert all(abs(one - expected) < 7 * expected**0.5 for one in seen)
