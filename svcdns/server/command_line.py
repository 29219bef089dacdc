"""The command line that `ps` shows of a process, changed by the process itself.

PR_SET_MM_MAP (prctl(2)) tells the kernel where it is; all else of the map stays as it was, from
/proc/self/stat (proc_pid_stat(5)).  Where the kernel doesn't take it, the former command line stays.
Standard library only.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from pathlib import Path

_PR_SET_MM, _PR_SET_MM_MAP = 35, 14
_STAT = {"start_code": 26, "end_code": 27, "start_stack": 28, "start_data": 45, "end_data": 46}
_STAT |= {"start_brk": 47, "arg_start": 48, "arg_end": 49, "env_start": 50, "env_end": 51}
"""Fields of /proc/self/stat, counted from 1."""
_NO_FILE = 0xFFFF_FFFF

_shown: list[ctypes.Array[ctypes.c_char]] = []
"""What the kernel reads the command line from: it must stay where it is."""


class _Map(ctypes.Structure):
    """struct prctl_mm_map."""

    _fields_ = (
        *((name, ctypes.c_uint64) for name in ("start_code", "end_code", "start_data", "end_data")),
        *((name, ctypes.c_uint64) for name in ("start_brk", "brk", "start_stack", "arg_start", "arg_end")),
        *((name, ctypes.c_uint64) for name in ("env_start", "env_end", "auxv")),
        ("auxv_size", ctypes.c_uint32),
        ("exe_fd", ctypes.c_uint32),
    )


def show(words: Sequence[str]) -> bool:
    """Have this process shown with these words; return whether the kernel took them."""
    try:
        fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
        values = {name: int(fields[number - 3]) for name, number in _STAT.items()}
    except (OSError, ValueError, IndexError):
        return False
    libc = ctypes.CDLL(None)
    libc.sbrk.restype = ctypes.c_void_p
    text = ctypes.create_string_buffer(
        b"".join(word.encode(errors="surrogateescape") + b"\0" for word in words)
    )
    begin = ctypes.addressof(text)
    values |= {"brk": libc.sbrk(0) or 0, "arg_start": begin, "arg_end": begin + len(text) - 1}
    told = _Map(**values, auxv=0, auxv_size=0, exe_fd=_NO_FILE)
    size = ctypes.c_ulong(ctypes.sizeof(told))
    taken = libc.prctl(
        _PR_SET_MM, ctypes.c_ulong(_PR_SET_MM_MAP), ctypes.byref(told), size, ctypes.c_ulong(0)
    )
    if taken == 0:
        _shown[:] = [text]
    return bool(taken == 0)
