"""How an upgrade goes, in a file for those who asked for it (`svcdns upgrade`).

    upgrade.json    {"number": N, "code": null, "lines": [...]}; `code` is 0 or 1 once it has ended

Where the file can't be written the upgrade goes on all the same, and the log says how it goes.

Standard library only.
"""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass
from pathlib import Path

from svcdns.system.replacing import atomic_write

UPGRADE = "upgrade.json"
_READABLE = 0o644


@dataclass(frozen=True, slots=True)
class State:
    """What the file says: `number` counts the upgrades of a server."""

    number: int = 0
    code: int | None = 0
    lines: tuple[str, ...] = ()


class Progress:
    """The file as the supervisor writes it, of one upgrade."""

    def __init__(self, folder: Path, number: int) -> None:
        """Nothing is written yet; what the former program wrote of the same upgrade is kept."""
        self._folder = folder
        found = read(folder)
        self._state = found if found.number == number else State(number, None)

    def write(self, line: str) -> None:
        """Add a line."""
        self._write(None, line)

    def end(self, code: int, *lines: str) -> None:
        """Add the last lines and the exit code."""
        self._write(code, *lines)

    def _write(self, code: int | None, *lines: str) -> None:
        self._state = State(self._state.number, code, (*self._state.lines, *lines))
        text = json.dumps({"number": self._state.number, "code": code, "lines": self._state.lines})
        with contextlib.suppress(OSError):
            atomic_write(self._folder / UPGRADE, f"{text}\n".encode(), _READABLE)


def read(folder: Path) -> State:
    """Return what the file says, State() where there is none that can be read."""
    try:
        written = json.loads((folder / UPGRADE).read_text())
        return State(int(written["number"]), written["code"], tuple(map(str, written["lines"])))
    except (OSError, ValueError, KeyError, TypeError):
        return State()
