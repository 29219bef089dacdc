"""Rights of root that one child needs: kept when the supervisor becomes another user, and lent to that child.

    permitted, not effective     the supervisor has them and cannot use them by accident
    ambient                      only while the child is started: it has them after exec, no other does

Rules:

* only the two that traffic takes, CAP_NET_ADMIN and CAP_NET_RAW, and only where they were there: of all
  that root had, nothing else outlives the change of user, not even as permitted;
* as root nothing is done: there a child has them all;
* what the kernel refuses is left alone: then the proxy works without rights, and says so.

https://man7.org/linux/man-pages/man7/capabilities.7.html.  Standard library only.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager

NET_ADMIN, NET_RAW = 12, 13
LENT = (NET_ADMIN, NET_RAW)
_MASK = 1 << NET_ADMIN | 1 << NET_RAW
_VERSION = 0x20080522
_PR_SET_KEEPCAPS, _PR_CAP_AMBIENT = 8, 47
_AMBIENT_IS_SET, _AMBIENT_RAISE, _AMBIENT_LOWER = 1, 2, 3


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Sets(ctypes.Structure):
    _fields_ = (
        ("effective", ctypes.c_uint32),
        ("permitted", ctypes.c_uint32),
        ("inheritable", ctypes.c_uint32),
    )


@contextmanager
def kept() -> Iterator[None]:
    """Keep them over a change of user in the body.

    The kernel keeps all of root's or none, so none are where what is too much could not be given up.
    """
    if not _set(_get()):
        yield
        return
    _prctl(_PR_SET_KEEPCAPS, 1)
    try:
        yield
    finally:
        _prctl(_PR_SET_KEEPCAPS, 0)
        if os.geteuid() != 0:
            _give_up_others()
        hold_back()


def hold_back() -> None:
    """Have those that this process is permitted ready to be lent, and pass them on to nobody.

    To be called where a process begins without root: a service manager, or the supervisor before an upgrade,
    has given them.
    """
    if os.geteuid() == 0:
        return
    for one in LENT:
        _prctl(_PR_CAP_AMBIENT, _AMBIENT_LOWER, one)
    sets = _get()
    low = sets[0]
    low.inheritable = (low.inheritable & ~_MASK) | (low.permitted & _MASK)
    low.effective &= ~_MASK
    _set(sets)


@contextmanager
def lent() -> Iterator[None]:
    """Have what is executed in the body get them."""
    if os.geteuid() == 0:
        yield
        return
    for one in LENT:
        _prctl(_PR_CAP_AMBIENT, _AMBIENT_RAISE, one)
    try:
        yield
    finally:
        for one in LENT:
            _prctl(_PR_CAP_AMBIENT, _AMBIENT_LOWER, one)


def keep_ambient() -> bool:
    """Be permitted no more than after an exec: for a process that was forked, and still has them all.

    Returns whether that is so: a filter of system calls may forbid it.
    """
    if os.geteuid() == 0:
        return True
    sets = _get()
    for at, one in enumerate(sets):
        bits = [bit for bit in range(32) if _prctl(_PR_CAP_AMBIENT, _AMBIENT_IS_SET, 32 * at + bit) == 1]
        one.permitted &= sum(1 << bit for bit in bits)
        one.effective = one.permitted
    return _set(sets)


def _give_up_others() -> None:
    """Be permitted nothing else any more."""
    sets = _get()
    sets[0].permitted &= _MASK
    sets[1].permitted = 0
    for one in sets:
        one.effective &= one.permitted
        one.inheritable &= one.permitted
    _set(sets)


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _prctl(option: int, *arguments: int) -> int:
    given = [ctypes.c_ulong(one) for one in (*arguments, 0, 0, 0, 0)[:4]]
    return int(_libc().prctl(ctypes.c_int(option), *given))


def _get() -> ctypes.Array[_Sets]:
    sets = (_Sets * 2)()
    _libc().capget(ctypes.byref(_Header(_VERSION, 0)), ctypes.byref(sets))
    return sets


def _set(sets: ctypes.Array[_Sets]) -> bool:
    """Return whether the kernel took them: a filter of system calls may forbid it."""
    return int(_libc().capset(ctypes.byref(_Header(_VERSION, 0)), ctypes.byref(sets))) == 0
