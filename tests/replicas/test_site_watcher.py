"""What a watch told is compared with what etcd has changed: each fault that is planted is found."""

from collections.abc import Callable

import pytest
from replicas.history import Change
from replicas.site_clients import SPACE
from replicas.site_watcher import Told, Unbroken

A, B = f"Service/{SPACE}/a", f"Service/{SPACE}/b"
CHANGES = [
    Change(3, A, "m1"),
    Change(5, A, "m2"),
    Change(6, f"Pod/{SPACE}/a", "m3"),
    Change(7, B, "m4"),
    Change(8, A, None),
    Change(9, B, "m5"),
]
TOLD = [(5, A, "m2"), (7, B, "m4"), (8, A, "")]
"""From revision 4 on; the last change has not come yet."""


def test_nothing_is_wrong_with_what_is_right() -> None:
    assert not list(Unbroken(4, [*TOLD]).faults(CHANGES))
    assert not list(Unbroken(4).faults(CHANGES))


def one_is_missing(told: list[Told]) -> None:
    del told[1]


def one_comes_twice(told: list[Told]) -> None:
    told.insert(1, told[1])


def one_never_was(told: list[Told]) -> None:
    told.insert(1, (6, B, "m9"))


def one_is_from_before_the_list(told: list[Told]) -> None:
    told.insert(0, (3, A, "m1"))


def another_state_than_there_was(told: list[Told]) -> None:
    told[1] = (7, B, "m5")


def gone_and_told_as_there(told: list[Told]) -> None:
    told[2] = (8, A, "m2")


def there_and_told_as_gone(told: list[Told]) -> None:
    told[1] = (7, B, "")


def out_of_order(told: list[Told]) -> None:
    told[0], told[1] = told[1], told[0]


@pytest.mark.parametrize(
    "plant",
    [
        one_is_missing,
        one_comes_twice,
        one_never_was,
        one_is_from_before_the_list,
        another_state_than_there_was,
        gone_and_told_as_there,
        there_and_told_as_gone,
        out_of_order,
    ],
)
def test_what_is_planted_is_found(plant: Callable[[list[Told]], None]) -> None:
    told = [*TOLD]
    plant(told)
    assert list(Unbroken(4, told).faults(CHANGES))
