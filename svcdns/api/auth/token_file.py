"""The file of tokens on disk: read again as soon as it changes, and edited without losing a line.

Rules:

* the server checks the file at each request that carries a token (one stat), so a token that was revoked is
  refused at once;
* what can't be read grants nothing: no file, no tokens; a line with a mistake is logged and skipped,
  the others hold;
* an edit holds a lock, writes a new file beside the old one and renames it: a reader never sees half.
"""

from __future__ import annotations

import contextlib
import fcntl
import hmac
import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from svcdns.system.log_on_change import LogOnChange
from svcdns.system.replacing import replacing
from svcdns.system.watched_file import WatchedFile

from .token_lines import HEADER, MAX_FILE_OCTETS, Token, TokenError, parse, token_lines

log = logging.getLogger(__name__)

FILE_MODE = 0o600


class _Unreadable(TokenError):
    """The system could not read the file just now."""


class TokenFile:
    """The tokens that are good now."""

    def __init__(self, path: Path) -> None:
        """Read the file for the first time when it is first asked."""
        self.path = path
        self.tokens: tuple[Token, ...] = ()
        self.reads = 0
        """How often it was read; goes up when the tokens may have changed."""
        self._watched = WatchedFile(path)
        self._logged = LogOnChange([])

    def find(self, digest: bytes) -> Token | None:
        """Return the token with this digest.

        All are compared, each in constant time: how long that takes says neither whether one matched nor
        which.
        """
        self.refresh()
        found = None
        for token in self.tokens:
            if hmac.compare_digest(token.digest, digest):
                found = token
        return found

    def refresh(self) -> None:
        """Read the file again if it has changed."""
        if not self._watched.changed():
            return
        self.reads += 1
        try:
            tokens, mistakes = read(self.path)
        except TokenError as wrong:
            tokens, mistakes = [], [str(wrong)]
            if isinstance(wrong, _Unreadable):
                self._watched.forget()  # without a change it may be readable again: EMFILE, EIO
        if self._logged.is_new(mistakes):
            for mistake in mistakes:
                log.error("%s: %s", self.path, mistake)
        self.tokens = tuple(tokens)


def read(path: Path) -> tuple[list[Token], list[str]]:
    """Return the tokens of a file and its mistakes.  Raises TokenError when it can't be read at all."""
    return parse(_text(path))


def _text(path: Path) -> str:
    try:
        with path.open("rb") as opened:
            octets = opened.read(MAX_FILE_OCTETS + 1)
        if len(octets) > MAX_FILE_OCTETS:
            raise TokenError(f"is larger than {MAX_FILE_OCTETS} octets")
        return octets.decode()
    except OSError as failed:
        raise _Unreadable(f"can't be read: {(failed.strerror or str(failed)).lower()}") from None
    except UnicodeDecodeError:
        raise TokenError("is not UTF-8 text") from None


def add(path: Path, token: Token) -> None:
    """Append a token; the file is made where it is missing.  Raises TokenError."""

    def appended(text: str) -> str:
        if any(token.name == other.name for other in parse(text)[0]):
            raise TokenError(
                f"there is a token {token.name!r} already; revoke it first, or choose another name"
            )
        return (text if not text or text.endswith("\n") else text + "\n") + token.line()

    _edit(path, appended)


def remove(path: Path, name: str) -> None:
    """Take a token out.  Raises TokenError when there is none of that name."""

    def without(text: str) -> str:
        lines = text.split("\n")
        gone = {number for number, line in token_lines(text) if line.split()[1:2] == [name]}
        if not gone:
            raise TokenError(f"there is no token {name!r:.80}")
        return "\n".join(line for number, line in enumerate(lines, 1) if number not in gone)

    if not path.exists():
        raise TokenError(f"there is no token {name!r:.80}: no such file")
    _edit(path, without)


def _edit(path: Path, change: Callable[[str], str]) -> None:
    try:
        with _locked(path) as status:
            text = change(_text(path) or HEADER)
            with replacing(path, status.st_mode & 0o777) as out:
                if os.geteuid() == 0:
                    os.fchown(out.fileno(), status.st_uid, status.st_gid)
                out.write(text.encode())
                out.flush()
                os.fsync(out.fileno())
    except OSError as failed:
        raise TokenError(f"can't be written: {(failed.strerror or str(failed)).lower()}") from None


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[os.stat_result]:
    """Hold the lock of the file that stands at the path now (an edit replaces it); made where missing."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE_MODE)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            status = os.fstat(descriptor)
            if os.path.exists(path) and os.path.samestat(status, os.stat(path)):
                yield status
                return
        finally:
            os.close(descriptor)
