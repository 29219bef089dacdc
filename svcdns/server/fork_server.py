"""The process that the server's children are forked from: what Python loads for them is in memory once.

    the supervisor forks it, before the first child -> it loads what a DNS worker uses, and waits
    -> for each child: its command line and descriptors come -> fork, fork again -> the pid goes back

The second fork makes the child an orphan, which the kernel gives to the supervisor (PR_SET_CHILD_SUBREAPER): so
the supervisor has children as ever, signals them, waits for them, and leaves them to a successor.

Rules:

* a child finds what it would after an exec: the descriptors that it was handed, under their numbers, and no
  others; no signal handlers; no capabilities but ambient ones; its own command line, which `ps` shows; a
  process group of its own;
* it never returns to what the supervisor was doing, and ends by os._exit;
* the fork server ends with the supervisor, or when that becomes another program; one that has died is
  followed by another when a child is to be started;
* where none can be had, children are executed.

The supervisor's side uses the standard library only.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import gc
import importlib
import json
import logging
import os
import signal
import socket
import sys
import traceback
from collections.abc import Callable, Collection, Sequence
from typing import Any, NoReturn

from . import capabilities, command_line
from .adopted import Adopted
from .child_setup import VARIABLE, read_config
from .children import Process, execute

MODULES = ("svcdns.server.writer", "svcdns.server.worker", "svcdns.server.forwarder")
"""What is forked when it is run as `python -m`; each has a `main`."""
_SHARED = "svcdns.server.worker"
"""What is loaded before the forks: of the others it is a part, but for what only they use."""
SECONDS = 10.0
"""A fork server that takes longer for one child is killed."""
_MOST_OCTETS = 1 << 16
_DESCRIPTORS_A_MESSAGE = 200
"""The kernel takes 253 (SCM_MAX_FD)."""
_PR_SET_DUMPABLE, _PR_SET_CHILD_SUBREAPER = 4, 36

log = logging.getLogger(__name__)


class ForkServer:
    """The supervisor's side."""

    def __init__(self) -> None:
        """Nothing runs before the first child is asked for."""
        self._link: socket.socket | None = None
        self._pidfd = -1
        self._is_possible: bool | None = None

    def begin(self, command: Sequence[str], descriptors: Collection[int], handoff: int) -> Process:
        """Start a child: forked if it is one of MODULES, else executed.  Raises OSError."""
        words = [str(word) for word in command]
        if words[:2] != [sys.executable, "-m"] or words[2] not in MODULES or not self._may_fork():
            return execute(command, descriptors, handoff)
        try:
            return Adopted(self._ask(words, [*descriptors, handoff], handoff))
        except (BrokenPipeError, ConnectionResetError, EOFError):  # it has died since
            self._end()
            return Adopted(self._ask(words, [*descriptors, handoff], handoff))

    def _may_fork(self) -> bool:
        """Say, and see to it, that orphans come to this process."""
        if self._is_possible is None:
            self._is_possible = _prctl(_PR_SET_CHILD_SUBREAPER, 1) == 0
        return self._is_possible

    def _ask(self, words: Sequence[str], descriptors: Sequence[int], handoff: int) -> int:
        link = self._link or self._start()
        numbers = list(dict.fromkeys(descriptors))
        try:
            link.send(json.dumps({"words": words, "numbers": numbers, "handoff": handoff}).encode())
            for at in range(0, len(numbers), _DESCRIPTORS_A_MESSAGE):
                socket.send_fds(link, [b"."], numbers[at : at + _DESCRIPTORS_A_MESSAGE])
            reply = link.recv(_MOST_OCTETS)
        except TimeoutError:
            signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
            self._end()
            raise OSError(errno.ETIMEDOUT, f"nothing was forked within {SECONDS:g} s") from None
        if not reply:
            raise EOFError
        pid, failed = json.loads(reply)
        if failed:
            raise OSError(failed, os.strerror(failed))
        return int(pid)

    def _start(self) -> socket.socket:
        ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.settimeout(SECONDS)
        gc.freeze()  # a collection would write to each object, and what is written to is shared no more
        pid = os.fork()
        if pid == 0:
            _run_apart(lambda: _serve(its))
        its.close()
        self._link, self._pidfd = ours, os.pidfd_open(pid)
        log.debug("children are forked from process %d", pid)
        return ours

    def _end(self) -> None:
        if self._link is not None:
            self._link.close()
            os.close(self._pidfd)
        self._link = None


def reap_strangers(known: Collection[int]) -> None:
    """Wait for children that have ended, up to the first of `known`, for which somebody else waits.

    Those are fork servers, and orphans of children that died.
    """
    with contextlib.suppress(ChildProcessError):
        while (ended := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)) is not None:
            if ended.si_pid in known:
                return
            os.waitpid(ended.si_pid, 0)


# In the forked processes.


def _run_apart(work: Callable[[], None]) -> NoReturn:
    """Do the work of a forked process to its end, as the interpreter would that of a program."""
    code = 1
    try:
        work()
        code = 0
    except SystemExit as ended:
        if isinstance(ended.code, int) or ended.code is None:
            code = ended.code or 0
        else:
            print(ended.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _serve(link: socket.socket) -> None:
    """Fork whom the supervisor asks for, until it goes."""
    link = _alone_with(link)
    _as_after_exec()
    command_line.show([sys.executable, "-m", __name__])
    gc.disable()
    importlib.import_module(_SHARED)
    gc.freeze()
    gc.enable()
    while request := link.recv(_MOST_OCTETS):
        asked = json.loads(request)
        received: list[int] = []
        while len(received) < len(asked["numbers"]):
            received += socket.recv_fds(link, 1, _DESCRIPTORS_A_MESSAGE)[1]
        read_config(received[asked["numbers"].index(asked["handoff"])])
        try:
            reply = (_forked(link, asked, received), 0)
        except OSError as failed:
            reply = (0, failed.errno or errno.EAGAIN)
        for descriptor in received:
            os.close(descriptor)
        link.send(json.dumps(reply).encode())


def _alone_with(link: socket.socket) -> socket.socket:
    """Close all of the supervisor's descriptors but the link and the standard ones; stdin says nothing."""
    os.dup2(link.detach(), 3, inheritable=False)
    os.closerange(4, os.sysconf("SC_OPEN_MAX"))
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    return socket.socket(fileno=3)


def _as_after_exec() -> None:
    """Have signals, rights and process group as a program has them when it begins."""
    signal.set_wakeup_fd(-1)
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        if callable(signal.getsignal(number)):
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    capabilities.keep_ambient()
    _prctl(_PR_SET_DUMPABLE, 1)  # who has changed its user is not, until it executes something
    os.setpgid(0, 0)  # Ctrl-C is for the supervisor, which ends its children in order


def _forked(link: socket.socket, asked: dict[str, Any], received: Sequence[int]) -> int:
    """Fork a child whose parent is the supervisor; return its pid.  Raises OSError."""
    reading, writing = os.pipe()
    try:
        between = os.fork()
        if between == 0:
            _run_apart(lambda: _fork_again(link, asked, received, writing))
        os.waitpid(between, 0)  # from now on the child is the supervisor's
        os.set_blocking(reading, False)
        pid, failed = json.loads(os.read(reading, _MOST_OCTETS) or "[0, 0]")
    except BlockingIOError:
        raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN)) from None
    finally:
        os.close(reading)
        os.close(writing)
    if failed:
        raise OSError(failed, os.strerror(failed))
    return int(pid)


def _fork_again(link: socket.socket, asked: dict[str, Any], received: Sequence[int], writing: int) -> None:
    try:
        pid = os.fork()
    except OSError as failed:
        os.write(writing, json.dumps((0, failed.errno)).encode())
        return
    if pid:
        os.write(writing, json.dumps((pid, 0)).encode())
        return
    link.close()
    os.setpgid(0, 0)
    _take_under_numbers(received, asked["numbers"])
    words = asked["words"]
    command_line.show(words)
    sys.argv[:] = words[2:]
    os.environ[VARIABLE] = str(asked["handoff"])
    importlib.import_module(words[2]).main()


def _take_under_numbers(received: Sequence[int], numbers: Sequence[int]) -> None:
    """Have descriptors under these numbers, and no others but the standard ones."""
    above = max([*received, *numbers], default=3) + 1
    moved = [fcntl.fcntl(one, fcntl.F_DUPFD_CLOEXEC, above) for one in received]
    os.closerange(3, above)
    for descriptor, number in zip(moved, numbers, strict=True):
        os.dup2(descriptor, number)
    for descriptor in moved:
        os.close(descriptor)


def _prctl(option: int, value: int) -> int:
    return int(ctypes.CDLL(None).prctl(option, ctypes.c_ulong(value), *[ctypes.c_ulong(0)] * 3))
