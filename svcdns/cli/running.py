"""Running a command beside something else: its signals, and its exit code."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import Awaitable, Callable
from contextlib import suppress

ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)
"""Signals by which one is told to end."""
_PASSED_ON = (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGWINCH, signal.SIGCONT)
NOT_FOUND, NOT_EXECUTABLE = 127, 126
"""Exit codes as a shell has them."""


class CanNotRun(Exception):
    """A command can't be run; the text says why, `code` is the exit code."""

    def __init__(self, text: str, code: int) -> None:
        """Keep both."""
        super().__init__(text)
        self.code = code


async def run(command: list[str], beside: Callable[[asyncio.Event], Awaitable[None]], pause: float) -> int:
    """Run a command ([]: none, until a signal comes) and return its exit code (128 + n for signal n).

    `beside` runs until its event is set: when the command has ended, or one is told to end. It is over before
    the command is told, and `pause` seconds later.  Raises CanNotRun.
    """
    process = _Process(command) if command else None
    leave = asyncio.Event()
    told: list[signal.Signals] = []
    loop = asyncio.get_running_loop()
    for number in ENDING:
        loop.add_signal_handler(number, _told, number, told, leave)
    for number in _PASSED_ON if process else ():
        loop.add_signal_handler(number, process.send, number)  # type: ignore[union-attr]
    running = asyncio.create_task(_set_at_end(process, leave)) if process else None
    await beside(leave)
    if process is None or running is None:
        return 0
    if told and not process.ended.is_set():
        await _until(process.ended, pause)
        process.tell(told[0])
        for number in ENDING:  # what comes from now on is for the command alone
            loop.add_signal_handler(number, process.send, number)
    await process.ended.wait()
    await running
    return process.code()


class _Process:
    """A command that runs."""

    def __init__(self, command: list[str]) -> None:
        try:
            self._process = subprocess.Popen(command)
        except FileNotFoundError:
            raise CanNotRun(f"{command[0]}: command not found", NOT_FOUND) from None
        except OSError as wrong:
            why = (wrong.strerror or str(wrong)).lower()
            raise CanNotRun(f"{command[0]}: {why}", NOT_EXECUTABLE) from None
        self.ended = asyncio.Event()

    async def wait(self) -> None:
        """Return when it has ended, however long that takes."""
        await asyncio.get_running_loop().run_in_executor(None, self._process.wait)
        self.ended.set()

    def send(self, number: signal.Signals) -> None:
        if self._process.poll() is None:
            self._process.send_signal(number)

    def tell(self, number: signal.Signals) -> None:
        """Pass a signal on, but for one that the terminal has sent it already."""
        if number != signal.SIGINT or not _is_in_foreground():
            self.send(number)

    def code(self) -> int:
        code = self._process.returncode
        return 128 - code if code < 0 else code


async def _set_at_end(process: _Process, leave: asyncio.Event) -> None:
    await process.wait()
    leave.set()


def _told(number: signal.Signals, told: list[signal.Signals], leave: asyncio.Event) -> None:
    told.append(number)
    leave.set()


def _is_in_foreground() -> bool:
    """Return whether a terminal sends its signals to us and to what we have started."""
    with suppress(OSError):
        return os.tcgetpgrp(0) == os.getpgrp()
    return False


async def _until(event: asyncio.Event, seconds: float) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
