"""Children as forks of the supervisor: what Python loads for all of them is in memory once.

    the supervisor loads what a DNS worker uses, and never runs it -> forks for each child
    -> the child becomes what it would be after an exec -> the `main` of its module

Rules:

* a child has the descriptors that it was handed, and no others but the standard ones; no signal handlers; no
  capabilities but ambient ones; its own command line, which `ps` shows; a process group of its own;
* it never returns to what the supervisor was doing, and ends by os._exit;
* a fork copies one thread, so the supervisor has no others;
* where another version has been installed meanwhile, children are executed: half of one and half of the other
  would be neither; so is who has crashed (see children.py);
* what the supervisor knows is in the memory of all: it reads no secret that it need not have;
* all other commands are executed, and so is a child that can't give up rights, or whose modules can't be
  loaded: it says why itself.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import logging
import os
import signal
import sys
import traceback
from collections.abc import Collection, Sequence
from functools import cache
from pathlib import Path
from typing import NoReturn

import svcdns
from svcdns.system import free_memory
from svcdns.system.watched_file import signature

from . import capabilities, command_line
from .adopted import Adopted
from .child_setup import VARIABLE, read_config
from .children import Process, execute

MODULES = ("svcdns.server.writer", "svcdns.server.worker", "svcdns.server.forwarder")
"""What is forked when it is to be run as `python -m`; each has a `main`."""
SHARED = "svcdns.server.worker"
"""What is loaded before the fork: most of what the others use too, and nothing of the API."""
_PACKAGE = Path(svcdns.__file__)
_INSTALLED = signature(_PACKAGE)
_PR_SET_DUMPABLE = 4
_MOST_DESCRIPTORS = 65_536
"""What a supervisor never comes near, where the limit may be a thousand millions."""

log = logging.getLogger(__name__)


def begin(command: Sequence[str], descriptors: Collection[int], handoff: int) -> Process:
    """Begin a child: by a fork if it is one of MODULES, else by executing the command.  Raises OSError."""
    words = [str(word) for word in command]
    is_ours = words[:2] == [sys.executable, "-m"] and words[2] in MODULES
    if not is_ours or signature(_PACKAGE) != _INSTALLED or not _is_loaded():
        return execute(command, descriptors, handoff)
    read_config(handoff)  # once for all children
    _leave_little_to_change()
    # Until its handlers are gone, a signal to the child would be taken for one to the supervisor.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        pid = os.fork()
        if pid == 0:
            _run(words, {*descriptors, handoff}, handoff)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return Adopted(pid)


def _leave_little_to_change() -> None:
    """Change now what each child would change first: a page that it writes to is its own from then on."""
    gc.freeze()  # a collection in a child would write to each object
    gc.collect()  # of nothing; but free lists are emptied, which each child would do
    sys._clear_type_cache()  # of names looked up: others take their places, and each is counted


@cache
def _is_loaded() -> bool:
    gc.disable()  # looked through once, below
    try:
        importlib.import_module(SHARED)
    except Exception:
        log.exception("%s can't be loaded: children are executed", SHARED)
        return False
    finally:
        gc.enable()
    gc.collect()  # each dataclass with slots leaves the class behind that it was made of
    free_memory.give_back()  # or each child has a share of it
    return True


def _run(words: Sequence[str], descriptors: Collection[int], handoff: int) -> NoReturn:
    """Be the child to its end, which is as the interpreter's would be."""
    code = 1
    try:
        os.setpgid(0, 0)  # while signals wait: Ctrl-C is for the supervisor, which ends its children in order
        os.environ[VARIABLE] = str(handoff)
        _become_a_program(descriptors)
        if not capabilities.keep_ambient():
            for descriptor in descriptors:
                os.set_inheritable(descriptor, True)
            os.execv(words[0], [*words])
        command_line.show(words)
        sys.argv[:] = words[2:]
        importlib.import_module(words[2]).main()
    except SystemExit as ended:
        if ended.code is None or isinstance(ended.code, int):
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


def _become_a_program(descriptors: Collection[int]) -> None:
    """Have descriptors and signals as a program has them when it begins."""
    signal.set_wakeup_fd(-1)
    for number in signal.valid_signals():
        if callable(signal.getsignal(number)):
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    for one in _open_descriptors() - {0, 1, 2, *descriptors}:
        with contextlib.suppress(OSError):  # that of the listing itself
            os.close(one)
    # Who has changed its user can't be looked into by it until it executes something.
    ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, *(ctypes.c_ulong(one) for one in (1, 0, 0, 0)))


def _open_descriptors() -> set[int]:
    """Return those of this process, above a limit that was lowered too; without /proc all that may be."""
    try:
        return {int(name) for name in os.listdir("/proc/self/fd")}
    except OSError:
        return set(range(min(os.sysconf("SC_OPEN_MAX"), _MOST_DESCRIPTORS)))
