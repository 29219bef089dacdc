"""Which endpoint stands in which slot: a change of a few endpoints moves a few slots, however many there are.

Pure.  Endpoints come sorted and each once; slots have them in any order, from 0 on without gaps.
"""

from __future__ import annotations

from collections.abc import Sequence

from svcdns.cluster.traffic_plan import Endpoint

Endpoints = tuple[Endpoint, ...]
_FEW = 8
"""So many are looked for one by one."""


def differences(old: Endpoints, new: Endpoints) -> tuple[list[Endpoint], list[Endpoint]]:
    """Return what left and what came.  Both are sorted; what is equal at both ends is skipped fast."""
    if old == new:
        return [], []
    start = _common(old, new, min(len(old), len(new)))
    end = _common(old[start:][::-1], new[start:][::-1], min(len(old), len(new)) - start)
    before, after = old[start : len(old) - end], new[start : len(new) - end]
    was, now = frozenset(before), frozenset(after)
    return [one for one in before if one not in now], [one for one in after if one not in was]


def _common(one: Endpoints, other: Endpoints, limit: int) -> int:
    """Return how many endpoints both begin with; slices are compared without a step for each."""
    low, high = 0, limit
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def reorder(
    slots: Endpoints, left: Sequence[Endpoint], came: Sequence[Endpoint]
) -> tuple[Endpoints, dict[int, Endpoint | None]]:
    """Return the slots afterwards, and each slot that has another endpoint now (None: it is gone).

    Who came takes the slots of who left; slots that are still free are filled from the end.
    """
    found = list(slots)
    changed: dict[int, Endpoint | None] = {}
    places = {one: slot for slot, one in enumerate(slots)} if len(left) > _FEW else None
    free = sorted((places[one] if places else found.index(one) for one in left), reverse=True)
    waiting = list(reversed(came))
    while waiting:
        if free:
            slot = free.pop()
            found[slot] = waiting.pop()
        else:
            slot = len(found)
            found.append(waiting.pop())
        changed[slot] = found[slot]
    for slot in free:  # the highest first: what is at the end moves down
        last = len(found) - 1
        changed[last] = None
        moved = found.pop()
        if slot != last:
            found[slot] = changed[slot] = moved
    return tuple(found), changed
