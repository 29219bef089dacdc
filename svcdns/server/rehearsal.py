"""An upgrade's rehearsal: the new code, as a child, reads all that it would take over, and then ends.

It runs the very command that is to be executed (succession.command), so its flags, its variables and its
interpreter are tried too.  What it says on stdout is the configuration for the successor, which need not read
the files again; mistakes come on stderr.

Standard library only.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Sequence
from typing import Any

from .succession import VARIABLE, Legacy

SECONDS = 30.0
_MOST_OCTETS = 1 << 20
_MOST_LINES = 20


class Failed(Exception):
    """An upgrade that was given up; the arguments are lines for the user."""

    def lines(self) -> list[str]:
        """Return them."""
        return [str(line) for line in self.args]


class Rehearsal:
    """The child."""

    def __init__(self, command: Sequence[str], legacy: Legacy) -> None:
        """Start it.  Raises Failed."""
        self._out, self._err = os.memfd_create("out"), os.memfd_create("err")
        try:
            with legacy.in_memory() as memory:
                self._process = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=self._out,
                    stderr=self._err,
                    pass_fds=(memory,),
                    env={**os.environ, VARIABLE: str(memory)},
                    process_group=0,
                )
        except OSError as failed:
            self._close()
            raise Failed(f"{command[0]} can't be run: {failed.strerror or failed}") from None
        self._deadline = time.monotonic() + SECONDS

    def result(self) -> dict[str, Any] | None:
        """Return the configuration for the successor, None while it runs.  Raises Failed."""
        code = self._process.poll()
        if code is None:
            if time.monotonic() < self._deadline:
                return None
            self.end()
            raise Failed(f"the new code did not check the configuration within {SECONDS:g} s")
        out, err = _text(self._out), _text(self._err)
        self._close()
        if code != 0 or not out.startswith("{"):
            lines = [line.removeprefix("svcdns: ") for line in err.splitlines()]
            raise Failed(*(lines[-_MOST_LINES:] or [f"the new code ended with code {code}"]))
        found: dict[str, Any] = json.loads(out)
        return found

    def end(self) -> None:
        """End it now."""
        self._process.kill()
        self._process.wait()
        self._close()

    def _close(self) -> None:
        os.close(self._out)
        os.close(self._err)


def _text(descriptor: int) -> str:
    return os.pread(descriptor, _MOST_OCTETS, 0).decode(errors="replace").strip()
