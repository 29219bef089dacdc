"""Memory that was freed, and what keeps it from the system.

What loading modules leaves of glibc's heap are holes between what stays.  Whole pages of them go back to the
system by malloc_trim(3), which nobody calls by itself.
"""

from __future__ import annotations

import ctypes
from contextlib import suppress


def give_back() -> None:
    """Give whole free pages back to the system; where the C library can't, they stay."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
