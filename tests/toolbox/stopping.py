"""Processes that stand still: SIGSTOP is sent at once, and carried out when each thread has taken it.

On a busy machine threads go on for a while behind `kill`, and answer what is asked meanwhile.
"""

import os
import signal
from contextlib import suppress
from pathlib import Path

from toolbox.waiting import wait_for

_STILL = "TtZX"
"""Stopped, traced, dead: proc_pid_stat(5)."""


def stop(pid: int) -> None:
    """Have a process stand still, all of its threads; raises ProcessLookupError where there is none."""
    os.kill(pid, signal.SIGSTOP)
    wait_for(lambda: _stands_still(pid), f"process {pid} to stand still")


def _stands_still(pid: int) -> bool:
    states = ""
    for file in Path(f"/proc/{pid}/task").glob("*/stat"):
        with suppress(OSError):  # it ended meanwhile
            states += file.read_text().rpartition(")")[2].split()[0]
    return all(state in _STILL for state in states)
