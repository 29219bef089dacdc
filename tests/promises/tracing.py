"""What a process writes, and in which order, by strace: to its store and to its clients.

LMDB commits in two steps: the changed pages, made durable by fdatasync, then the meta page through a
descriptor opened with O_DSYNC, so that this write returns when it is on disk.
"""

import contextlib
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

from svcdns.store.environment import DATA_FILE

CALLS = "fsync,fdatasync,msync,write,writev,pwrite64,pwritev,pwritev2,sendto,sendmsg"
_CALL = re.compile(r"(\d+) +(\w+)\((?:(\d+)<([^>]*)>)?")
_RESUMED = re.compile(r"(\d+) +<\.\.\. (\w+) resumed>")


class CannotTrace(Exception):
    """The system does not let us look at another process."""


@contextlib.contextmanager
def traced(strace: str, pid: int, out: Path) -> Iterator[None]:
    """Trace all threads of a process while the body runs.  Raises CannotTrace."""
    _note_flags(pid, out)
    command = [strace, "-f", "-y", "-s", "16", "-e", f"trace={CALLS}", "-o", str(out), "-p", str(pid)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    first = process.stderr.readline()
    if "attached" not in first:
        process.kill()
        process.wait()
        raise CannotTrace(f"strace can't look at the server here: {first.strip()}")
    try:
        yield
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate()


def _flags_of(out: Path) -> Path:
    return out.with_suffix(".flags")


def _note_flags(pid: int, out: Path) -> None:
    """Write down which descriptors of the store write synchronously."""
    synchronous = []
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        if os.readlink(descriptor).endswith(DATA_FILE):
            about = Path(f"/proc/{pid}/fdinfo/{descriptor.name}").read_text()
            found = re.search(r"flags:\s*(\d+)", about)
            if found and int(found[1], 8) & os.O_DSYNC:
                synchronous.append(descriptor.name)
    _flags_of(out).write_text(" ".join(synchronous))


def order_of_writes(out: Path, answers: int) -> list[str]:
    """Return for each HTTP answer what came before it, as words: pages, flush, meta, answer.

    A call counts when it has returned, but an answer when it begins.
    """
    synchronous = _flags_of(out).read_text().split()
    words: list[str] = []
    under_way: dict[str, str] = {}
    found: list[str] = []
    for line in out.read_text().splitlines():
        if resumed := _RESUMED.match(line):
            words += filter(None, [under_way.pop(resumed[1], "")])
            continue
        called = _CALL.match(line)
        word = _word(called, synchronous, line) if called else ""
        if called and line.endswith("<unfinished ...>") and word != "answer":
            under_way[called[1]] = word
        elif word:
            words.append(word)
        if word == "answer":
            found.append(" ".join(words))
            words = []
    assert len(found) == answers, f"{len(found)} answers in the trace, not {answers}"
    return found


def _word(called: re.Match[str], synchronous: list[str], line: str) -> str:
    _, name, descriptor, target = called.groups()
    if target and target.endswith(DATA_FILE):
        if name in ("fsync", "fdatasync"):
            return "flush"
        return "meta" if descriptor in synchronous else "pages"
    if name == "msync":
        return "flush"
    return "answer" if '"HTTP/1.1 201' in line else ""
