"""Which process runs first where there are fewer cores than work: a worker, and the forwarder after it.

A question for an own name takes microseconds, one that is forwarded many times as long, and clients and
upstreams decide how many of those there are.  On a core that both share, the kernel gives them equal parts:
a worker that has just used its own waits until the forwarder has had as much, for milliseconds.  So

* the forwarder steps back (nice): it has a tenth of a core that others fill, and all of one that is free;
* a worker asks for short slices, so that it is let in at once and not at the end of a long slice
  (Linux 6.12, sched(7); older kernels take it and do nothing).

Both without privileges, and without harm where they are refused.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import struct

NICE = 10
"""By which the forwarder steps back: its weight is a tenth of a worker's."""
SLICE_NANOSECONDS = 100_000
"""The shortest that the kernel gives."""

_SCHED_SETATTR = {"x86_64": 314, "aarch64": 274, "riscv64": 274, "armv7l": 380, "ppc64le": 355, "s390x": 345}
"""Number of the system call, for which the C library has no function (glibc has one since 2.41)."""
_ATTRIBUTES = struct.Struct("=IIQiIQQQ")
"""struct sched_attr: size, policy, flags, nice, priority, runtime, deadline, period."""


def step_back() -> None:
    """Let others run before this process."""
    with contextlib.suppress(OSError):
        os.nice(NICE)


def take_short_slices() -> bool:
    """Ask for short slices of the core for this thread; return whether the kernel took it."""
    number = _SCHED_SETATTR.get(platform.machine())
    if number is None or os.sched_getscheduler(0) != os.SCHED_OTHER:
        return False
    nice = os.getpriority(os.PRIO_PROCESS, 0)
    attributes = _ATTRIBUTES.pack(_ATTRIBUTES.size, os.SCHED_OTHER, 0, nice, 0, SLICE_NANOSECONDS, 0, 0)
    try:
        return bool(ctypes.CDLL(None).syscall(number, 0, attributes, 0) == 0)
    except (OSError, AttributeError):
        return False
