"""The checker finds what is planted, one fault a rule and more, and nothing in histories that are right."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from replicas.checker import check
from replicas.history import Change, History, Operation, Outcome

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
            write("m1", 10, 20, 5),
            replace(write("m2", 30, 40, 7), base=5_000),
            write("m3", 50, 60, 8, "Service/b"),
            read("r1", "Service/a", 50, 55, 7, Service_a="m2"),
            read("r2", "Service/", 70, 75, 6, Service_a="m1"),
            replace(write("m4", 80, 90, 0), outcome=Outcome.UNKNOWN),
            replace(write("m5", 80, 90, 0), outcome=Outcome.REFUSED),
            replace(write(None, 100, 110, 0, "Service/b")),
            read("r2", "Service/", 120, 125, 12, Service_a="m4"),
        ],
        [
            Change(5, "Service/a", "m1", 5_000, frozenset({"10.96.0.1"})),
            Change(7, "Service/a", "m2", 7_000, frozenset({"10.96.0.1"})),
            Change(8, "Service/b", "m3", 8_000, frozenset({"10.96.0.2", "30000"})),
            Change(9, "Service/b", None),
            Change(12, "Service/a", "m4", 12_000, frozenset({"10.96.0.2"})),
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


def list_without_an_object(history: History) -> None:
    history.operations[4].seen = {}


def list_with_what_is_gone(history: History) -> None:
    history.operations[8].seen = {"Service/a": "m4", "Service/b": "m3"}


def base_that_was_overwritten(history: History) -> None:
    history.operations[1].base = 4_000


def base_of_an_unknown_outcome(history: History) -> None:
    history.operations[5].base = 5_000


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


def log_out_of_order(history: History) -> None:
    history.changes.append(Change(11, "Service/a", "m4", 11_000))


PLANTED: list[tuple[str, Callable[[History], None]]] = [
    ("order", older_write),
    ("order", read_that_goes_back),
    ("order", consistent_read_that_is_old),
    ("reads", read_of_an_older_state),
    ("reads", list_without_an_object),
    ("reads", list_with_what_is_gone),
    ("bases", base_that_was_overwritten),
    ("bases", base_of_an_unknown_outcome),
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
    ("log", log_out_of_order),
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

    history: History = field(default_factory=History)
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
        else:
            self._write(operation, draw, f"m{moment}")

    def _read(self, operation: Operation, draw: st.DataObject) -> None:
        operation.is_read = True
        if draw.draw(st.booleans()):
            operation.name = operation.name.partition("/")[0] + "/"
        revision = draw.draw(st.integers(self.shown.get(operation.at, 0), self.revision))
        self.shown[operation.at] = revision
        then = {change.name: change for change in self.history.changes if change.revision <= revision}
        operation.done(
            revision,
            {
                name: change.mark
                for name, change in then.items()
                if change.mark is not None and name.startswith(operation.name)
            },
        )

    def _write(self, operation: Operation, draw: st.DataObject, mark: str) -> None:
        before = self.stands.get(operation.name, Change(0, operation.name, None))
        if before.mark is None or draw.draw(st.integers(0, 3)):
            operation.mark = mark
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
        held = frozenset({f"10.96.0.{NAMES.index(operation.name)}"} if operation.mark else ())
        version = self.revision * 1000 if operation.mark else 0
        change = Change(self.revision, operation.name, operation.mark, version, held)
        self.stands[operation.name] = change
        self.history.changes.append(change)


@given(st.data(), st.integers(0, 40))
def test_nothing_is_found_where_all_is_right(data: st.DataObject, steps: int) -> None:
    sharing = Sharing()
    for step in range(steps):
        sharing.operate(data, 100 + 10 * step)
    stands = {name: change.mark for name, change in sharing.stands.items() if change.mark is not None}
    sharing.history.final = {"r1": stands, "r2": stands}
    assert check(sharing.history) == []
