"""The checker finds what is planted, one fault a rule and more, and nothing in histories that are right."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from replicas.checker import check
from replicas.history import Allocation, Answer, Change, History, Operation, Outcome, Owned, Space

NAMES = ("Service/a", "Service/b", "Pod/c")


def read(at: str, name: str, began: int, ended: int, revision: int, **seen: str) -> Operation:
    shown = {name.replace("_", "/"): mark for name, mark in seen.items()}
    return Operation(at, name, None, 0, True, began, ended, Outcome.DONE, revision, shown)


def write(mark: str | None, began: int, ended: int, revision: int, name: str = "Service/a") -> Operation:
    return Operation("r1", name, mark, 0, False, began, ended, Outcome.DONE, revision)


def right() -> History:
    """Return a small history of which nothing is wrong."""
    return History(
        [
            replace(write("m1", 10, 20, 5), by="c1"),
            replace(write("m2", 30, 40, 7), base=5_000, by="c2"),
            replace(write("m3", 50, 60, 8, "Service/b"), by="c1"),
            read("r1", "Service/a", 50, 55, 7, Service_a="m2"),
            read("r2", "Service/", 70, 75, 6, Service_a="m1"),
            replace(write("m4", 80, 90, 0), outcome=Outcome.UNKNOWN, by="c1"),
            replace(write("m5", 80, 90, 0), outcome=Outcome.REFUSED),
            replace(write(None, 100, 110, 0, "Service/b")),
            read("r2", "Service/", 120, 125, 12, Service_a="m4"),
        ],
        [
            Change(5, "Service/a", "m1", 5_000, frozenset({"10.96.0.1"}), {"c1": "m1"}),
            Change(7, "Service/a", "m2", 7_000, frozenset({"10.96.0.1"}), {"c1": "m1", "c2": "m2"}),
            Change(8, "Service/b", "m3", 8_000, frozenset({"10.96.0.2", "30000"}), {"c1": "m3"}),
            Change(9, "Service/b", None),
            Change(12, "Service/a", "m4", 12_000, frozenset({"10.96.0.2"}), {"c1": "m4", "c2": "m2"}),
        ],
        [
            Allocation(5, "10.96.0.1", "Service/a"),
            Allocation(8, "10.96.0.2", "Service/b"),
            Allocation(8, "30000", "Service/b"),
            Allocation(9, "10.96.0.2", None),
            Allocation(9, "30000", None),
            Allocation(12, "10.96.0.1", None),
            Allocation(12, "10.96.0.2", "Service/a"),
        ],
        [
            Owned(3, "Lease/a", "u1"),
            Owned(4, "Lease/b", "u2", frozenset({"u1"})),
            Owned(5, "Lease/c", "u3", frozenset({"u1", "u2"})),
            Owned(6, "Lease/a"),
            Owned(6, "Lease/b"),
            Owned(6, "Lease/c"),
            Owned(6, "Lease/d", "u4", frozenset({"u1"})),
        ],
        [Space(2, "Service", is_open=True, is_there=True)],
        [
            Answer("r2", "Service/a", "m2", 112, 114),
            Answer("r2", "Service/a", "m2", 115, 118),
            Answer("r2", "Service/a", "m4", 130, 135),
        ],
        {"r1": {"Service/a": "m4"}, "r2": {"Service/a": "m4"}},
    )


def test_nothing_is_wrong_with_what_is_right() -> None:
    assert check(right()) == []


def older_write(history: History) -> None:
    history.operations[2].began = 35
    history.operations[1].ended = 34
    history.operations[2].revision = 7


def consistent_read_that_is_old(history: History) -> None:
    history.operations[4].is_consistent = True


def read_that_goes_back(history: History) -> None:
    history.operations.append(read("r2", "Service/a", 130, 135, 11, Service_a="m2"))


def read_of_an_older_state(history: History) -> None:
    history.operations[3].seen = {"Service/a": "m1"}


def read_from_before_an_acknowledged_delete(history: History) -> None:
    history.operations.append(read("r1", "Service/", 115, 118, 8, Service_a="m2", Service_b="m3"))


def delete_from_before_an_acknowledged_write(history: History) -> None:
    history.operations[2].began = history.operations[2].ended = 45
    history.operations[7].began, history.operations[7].ended = 55, 60
    history.operations.append(replace(write("m6", 50, 54, 10, "Service/c")))
    history.changes.insert(4, Change(10, "Service/c", "m6", 10_000))


def answer_that_goes_back(history: History) -> None:
    history.answers.append(Answer("r2", "Service/a", "m2", 140, 145))


def answer_from_before_an_acknowledged_write(history: History) -> None:
    history.answers.append(Answer("r1", "Service/a", "m1", 41, 45))


def answer_from_before_a_read(history: History) -> None:
    history.answers.append(Answer("r2", "Service/a", "m2", 126, 128))


def read_from_before_an_answer(history: History) -> None:
    history.answers.append(Answer("r3", "Service/a", "m4", 95, 99))
    history.operations.append(read("r3", "Service/", 100, 104, 9, Service_a="m2"))


def answer_of_what_is_gone(history: History) -> None:
    history.answers.append(Answer("r1", "Service/b", "m3", 111, 115))


def answer_of_what_never_was(history: History) -> None:
    history.answers.append(Answer("r1", "Service/a", "m5", 111, 115))


def list_without_an_object(history: History) -> None:
    history.operations[4].seen = {}


def list_with_what_is_gone(history: History) -> None:
    history.operations[8].seen = {"Service/a": "m4", "Service/b": "m3"}


def base_that_was_overwritten(history: History) -> None:
    history.operations[1].base = 4_000


def base_of_an_unknown_outcome(history: History) -> None:
    history.operations[5].base = 5_000


def overwritten_by_a_write_that_was_decided_before(history: History) -> None:
    history.changes[4] = history.changes[4]._replace(marks={"c1": "m4"})


def set_back_to_what_was_overwritten(history: History) -> None:
    history.changes[4] = history.changes[4]._replace(marks={"c1": "m4", "c2": "m0"})


def acknowledged_and_lost(history: History) -> None:
    del history.changes[2:4]


def acknowledged_delete_that_is_lost(history: History) -> None:
    del history.changes[3]


def refused_and_carried_out(history: History) -> None:
    history.changes.append(Change(13, "Service/a", "m5", 13_000))


def carried_out_twice(history: History) -> None:
    history.changes.append(Change(13, "Service/a", "m4", 13_000))


def written_by_nobody(history: History) -> None:
    history.changes.append(Change(13, "Service/a", "m99", 13_000))


def deleted_by_nobody(history: History) -> None:
    history.changes.append(Change(13, "Service/a", None))


def replica_that_is_behind_in_the_end(history: History) -> None:
    history.final["r2"] = {"Service/a": "m2"}


def replica_with_more_in_the_end(history: History) -> None:
    history.final["r2"]["Service/b"] = "m3"


def address_with_two_owners(history: History) -> None:
    history.changes[2] = history.changes[2]._replace(held=frozenset({"10.96.0.1"}))


def address_given_out_before_it_is_free(history: History) -> None:
    history.changes[3], history.changes[4] = (
        history.changes[4]._replace(revision=9),
        history.changes[3]._replace(revision=12),
    )


def address_noted_as_somebody_elses(history: History) -> None:
    history.allocations[6] = Allocation(12, "10.96.0.2", "Service/b")


def address_not_noted(history: History) -> None:
    del history.allocations[0]


def address_noted_too_late(history: History) -> None:
    history.allocations[0] = Allocation(6, "10.96.0.1", "Service/a")


def address_that_stays_noted(history: History) -> None:
    del history.allocations[5]


def created_where_a_deletion_has_begun(history: History) -> None:
    history.spaces.append(Space(7, "Service", is_open=False, is_there=True))


def created_where_nothing_is(history: History) -> None:
    history.spaces[0] = Space(6, "Service", is_open=True, is_there=True)


def left_in_what_is_gone(history: History) -> None:
    history.spaces.append(Space(12, "Service", is_open=False, is_there=True))
    history.spaces.append(Space(13, "Service", is_open=False, is_there=False))


def left_by_its_owner(history: History) -> None:
    del history.owned[4]


def left_by_the_last_of_its_owners(history: History) -> None:
    del history.owned[5]


def held_by_nothing(history: History) -> None:
    history.owned.append(Owned(7, "Lease/d", "u4", is_over=True))


def log_out_of_order(history: History) -> None:
    history.changes.append(Change(11, "Service/a", "m4", 11_000))


def log_out_of_order_among_objects(history: History) -> None:
    history.changes[2], history.changes[3] = (
        history.changes[1]._replace(name="Service/z", revision=8),
        history.changes[3]._replace(name="Service/z", revision=6),
    )


PLANTED: list[tuple[str, Callable[[History], None]]] = [
    ("order", older_write),
    ("order", read_that_goes_back),
    ("order", consistent_read_that_is_old),
    ("order", read_from_before_an_acknowledged_delete),
    ("order", delete_from_before_an_acknowledged_write),
    ("answers", answer_that_goes_back),
    ("answers", answer_from_before_an_acknowledged_write),
    ("answers", answer_from_before_a_read),
    ("answers", read_from_before_an_answer),
    ("answers", answer_of_what_is_gone),
    ("answers", answer_of_what_never_was),
    ("reads", read_of_an_older_state),
    ("reads", list_without_an_object),
    ("reads", list_with_what_is_gone),
    ("bases", base_that_was_overwritten),
    ("bases", base_of_an_unknown_outcome),
    ("kept", overwritten_by_a_write_that_was_decided_before),
    ("kept", set_back_to_what_was_overwritten),
    ("settled", acknowledged_and_lost),
    ("settled", acknowledged_delete_that_is_lost),
    ("settled", refused_and_carried_out),
    ("settled", carried_out_twice),
    ("settled", written_by_nobody),
    ("settled", deleted_by_nobody),
    ("final", replica_that_is_behind_in_the_end),
    ("final", replica_with_more_in_the_end),
    ("owners", address_with_two_owners),
    ("owners", address_given_out_before_it_is_free),
    ("owners", address_noted_as_somebody_elses),
    ("owners", address_not_noted),
    ("owners", address_noted_too_late),
    ("owners", address_that_stays_noted),
    ("spaces", created_where_a_deletion_has_begun),
    ("spaces", created_where_nothing_is),
    ("spaces", left_in_what_is_gone),
    ("owned", left_by_its_owner),
    ("owned", left_by_the_last_of_its_owners),
    ("owned", held_by_nothing),
    ("log", log_out_of_order),
    ("log", log_out_of_order_among_objects),
]


@pytest.mark.parametrize(("rule", "plant"), PLANTED, ids=[plant.__name__ for _, plant in PLANTED])
def test_what_is_planted_is_found(rule: str, plant: Callable[[History], None]) -> None:
    history = right()
    plant(history)
    found = check(history)
    assert any(fault.startswith(f"{rule}: ") for fault in found), found


@dataclass
class Sharing:
    """Replicas that do as they should: each operation happens at one moment of the time that it takes."""

    history: History = field(
        default_factory=lambda: History(spaces=[Space(1, kind, True, True) for kind in ("Service", "Pod")])
    )
    stands: dict[str, Change] = field(default_factory=dict)
    revision: int = 3
    shown: dict[str, int] = field(default_factory=dict)
    """Up to which revision each replica shows what there is."""

    def operate(self, draw: st.DataObject, moment: int) -> None:
        """Have something happen."""
        at = draw.draw(st.sampled_from(["r1", "r2", "r3"]))
        name = draw.draw(st.sampled_from(NAMES))
        operation = Operation(
            at,
            name,
            began=moment - draw.draw(st.integers(1, 25)),
            ended=moment + draw.draw(st.integers(1, 25)),
        )
        self.history.operations.append(operation)
        if draw.draw(st.booleans()):
            self._read(operation, draw)
        elif draw.draw(st.booleans()):
            self.history.operations.remove(operation)
            self._ask(operation, draw)
        else:
            self._write(operation, draw, f"m{moment}")

    def _read(self, operation: Operation, draw: st.DataObject) -> None:
        operation.is_read = True
        if draw.draw(st.booleans()):
            operation.name = operation.name.partition("/")[0] + "/"
        revision, then = self._look(operation.at, draw)
        operation.done(
            revision,
            {
                name: change.mark
                for name, change in then.items()
                if change.mark is not None and name.startswith(operation.name)
            },
        )

    def _look(self, at: str, draw: st.DataObject) -> tuple[int, dict[str, Change]]:
        """Return up to which revision a replica shows what there is, and that."""
        revision = draw.draw(st.integers(self.shown.get(at, 0), self.revision))
        self.shown[at] = revision
        return revision, {
            change.name: change for change in self.history.changes if change.revision <= revision
        }

    def _ask(self, asked: Operation, draw: st.DataObject) -> None:
        _, then = self._look(asked.at, draw)
        if (change := then.get(asked.name)) is not None and change.mark is not None:
            self.history.answers.append(Answer(asked.at, asked.name, change.mark, asked.began, asked.ended))

    def _write(self, operation: Operation, draw: st.DataObject, mark: str) -> None:
        before = self.stands.get(operation.name, Change(0, operation.name, None))
        if before.mark is None or draw.draw(st.integers(0, 3)):
            operation.mark, operation.by = mark, draw.draw(st.sampled_from(["c1", "c2"]))
            operation.base = draw.draw(st.sampled_from([0, before.version, max(0, before.version - 1)]))
        if operation.base not in (0, before.version):
            operation.refused()
            return
        if draw.draw(st.integers(0, 4)) == 0:  # lost on its way, or its answer on the way back
            if draw.draw(st.booleans()):
                self._change(operation)
            return
        self._change(operation)
        self.shown[operation.at] = self.revision
        operation.done(0 if operation.is_delete else self.revision)

    def _change(self, operation: Operation) -> None:
        self.revision += 1
        name, before = operation.name, self.stands.get(operation.name)
        change, address = Change(self.revision, name, None), f"10.96.0.{NAMES.index(name)}"
        if operation.mark is not None:
            marks = {**(before.marks if before is not None else {}), operation.by: operation.mark}
            change = Change(
                self.revision, name, operation.mark, self.revision * 1000, frozenset({address}), marks
            )
        self.stands[name] = change
        self.history.changes.append(change)
        self.history.allocations.append(Allocation(self.revision, address, name if change.held else None))


@given(st.data(), st.integers(0, 40))
def test_nothing_is_found_where_all_is_right(data: st.DataObject, steps: int) -> None:
    sharing = Sharing()
    for step in range(steps):
        sharing.operate(data, 100 + 10 * step)
    stands = {name: change.mark for name, change in sharing.stands.items() if change.mark is not None}
    sharing.history.final = {"r1": stands, "r2": stands}
    assert check(sharing.history) == []
