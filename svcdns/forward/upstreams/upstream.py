"""What every transport to an upstream offers, and what they share.

A transport asks one server once; which server is asked, and how often, is for the pool to say.  An
exchange that is cancelled leaves no socket, timer or task behind, kept connections apart: `close` ends
those.
"""

from __future__ import annotations

import asyncio
import errno
import os
import ssl
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import Protocol, TypeVar, runtime_checkable

from svcdns.wire import codes, header
from svcdns.wire.query import Query, is_same_question
from svcdns.wire.response import Response

WITHOUT_EDNS_SECONDS = 300.0
"""For so long an upstream that knows no EDNS is asked without it."""
DOUBTED_SECONDS = 10.0
"""The same where only the ID said that it was the upstream: without EDNS no answer has signatures."""

SILENT_SECONDS = 60.0
"""The same where it drops queries with EDNS: a second is lost each time that this is tried again."""

_T = TypeVar("_T")
_REFUSALS = (codes.FORMERR, codes.NOTIMP)
_RCODE_AT = header.FLAGS_AT + 1
"""The octet that has the rcode."""
_LOCAL = frozenset(
    {
        errno.EMFILE,
        errno.ENFILE,
        errno.ENOBUFS,
        errno.ENOMEM,
        errno.ENOSPC,  # fs.epoll.max_user_watches
        errno.EADDRNOTAVAIL,
        errno.EAGAIN,  # what a UDP socket gets when all ports are taken
        errno.EPERM,  # a firewall of this host
    }
)


class NoReply(Exception):
    """An upstream gave no reply that is one; the text says why."""


class Silence(NoReply):
    """Nothing came in time."""


class LocalFault(NoReply):
    """It was not asked: this host has no room for it, or a limit of ours.  That says nothing about it."""


class UselessReply(NoReply):
    """It replied, with what can't be passed on: that is about the name, and shows that it lives."""


class EdnsRefused(NoReply):
    """FORMERR or NOTIMP without an OPT, to a query with one (RFC 6891 section 7)."""

    def __init__(self, *, doubted: bool) -> None:
        super().__init__("it knows no EDNS")
        self.doubted = doubted
        """Whether only the ID says that it replies to our query."""


class Upstream(Protocol):
    """One server that is asked."""

    name: str
    """As the configuration writes it."""

    @property
    def garbage(self) -> int:
        """How many messages from it (or in its name) were no reply to what was asked."""
        ...

    async def exchange(self, query: Query, seconds: float) -> Response:
        """Ask once and return the reply, whatever its rcode.  Raises NoReply, after `seconds` at most."""
        ...

    async def close(self) -> None:
        """Close all connections; what is under way gets NoReply."""
        ...


Outcome = Response | NoReply
OnOutcome = Callable[[Outcome], object]


@runtime_checkable
class PromptUpstream(Upstream, Protocol):
    """One that can be asked without a task: a task costs more than all else that a reply takes."""

    def begin(self, query: Query, seconds: float, on_outcome: OnOutcome) -> None:
        """Ask once, as `exchange` does; what comes of it is handed to `on_outcome`, once, later.

        Raises NoReply where it can't even be asked; then nobody is called.  `seconds` is the same each time.
        """
        ...


async def connect(
    host: str, port: int, tls: ssl.SSLContext | None, server_name: str | None
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Return a connection, with TLS where there is a context.  Raises OSError.

    TLS is begun in a second step: asyncio's own single step, cancelled in a bad moment, leaves the
    connection open.
    """
    reader, writer = await asyncio.open_connection(host, port)
    if tls is not None:
        try:
            await writer.start_tls(tls, server_hostname=server_name)
        except BaseException:
            writer.transport.abort()
            raise
    return reader, writer


class EdnsFallback:
    """Whether an upstream is asked with EDNS: it is, until it refuses, or drops such queries.

    A lost query says little: only where no reply to one with EDNS has come for WITHOUT_EDNS_SECONDS is the
    next one asked without, once, and only a reply to that one makes it a habit.
    """

    def __init__(self, *, drops: bool = False) -> None:
        """`drops` says whether queries may be dropped for their OPT (some routers do, over UDP)."""
        self._drops = drops
        self._without_until = 0.0
        self._replied_at = -WITHOUT_EDNS_SECONDS
        self._was_silent = False

    @property
    def is_used(self) -> bool:
        """Whether the next query has EDNS."""
        return not self._was_silent and monotonic() >= self._without_until

    def has_replied(self) -> None:
        """Note a reply to a query with EDNS."""
        self._replied_at = monotonic()

    def was_silent(self) -> None:
        """Note that a query with EDNS had no reply: the next one may be asked without."""
        over = monotonic() >= self._replied_at + WITHOUT_EDNS_SECONDS
        self._was_silent = self._drops and over

    async def exchange(self, once: Callable[[bool], Awaitable[Response]]) -> Response:
        """Return the reply of `once`, whose argument says whether to use EDNS; it may raise EdnsRefused."""
        if monotonic() < self._without_until:
            return await once(False)
        if self._was_silent:
            self._was_silent = False
            response = await once(False)
            self._without_until = monotonic() + SILENT_SECONDS
            return response
        try:
            response = await once(True)
            self.has_replied()
            return response
        except Silence:
            self.was_silent()
            raise
        except EdnsRefused as refused:
            seconds = DOUBTED_SECONDS if refused.doubted else WITHOUT_EDNS_SECONDS
            response = await once(False)
        if response.rcode not in _REFUSALS:
            self._without_until = monotonic() + seconds
        return response


def edns_refusal(wire: bytes, query: Query, ident: int) -> EdnsRefused | None:
    """Return what to raise if this is how a server that knows no OPT replies to a query with one.

    Such a server may send the header alone; then only the ID, and where it came from, say that it replies
    to ours, and that is not remembered for long.  Where it has a question, it has to be ours.
    """
    if len(wire) < header.OCTETS or wire[_RCODE_AT] & header.RCODE not in _REFUSALS:
        return None
    got, flags, questions, _, _, additionals = header.HEADER.unpack_from(wire)
    is_reply = flags & (header.QR | header.OPCODE) == header.QR and int.from_bytes(got) == ident
    if not is_reply or additionals:
        return None
    if len(wire) == header.OCTETS:
        return EdnsRefused(doubted=True)
    ours = query.question
    is_ours = questions == 1 and is_same_question(wire[header.OCTETS : header.OCTETS + len(ours)], ours)
    return EdnsRefused(doubted=False) if is_ours else None


async def until(deadline: float, future: asyncio.Future[_T]) -> _T:
    """Return the future's result; NoReply once the loop's clock reads `deadline`."""
    timer = asyncio.get_running_loop().call_at(deadline, _expire, future)
    try:
        return await future
    finally:
        timer.cancel()


def _expire(future: asyncio.Future[_T]) -> None:
    if not future.done():
        future.set_exception(Silence("no reply in time"))


def no_reply(wrong: BaseException) -> NoReply:
    """Return an error of the system or of TLS as what it means for an exchange."""
    is_local = isinstance(wrong, OSError) and not isinstance(wrong, ssl.SSLError) and wrong.errno in _LOCAL
    return (LocalFault if is_local else NoReply)(why(wrong))


def why(wrong: BaseException) -> str:
    """Return an error of the system or of TLS as words."""
    if isinstance(wrong, ssl.SSLCertVerificationError):
        return f"its certificate is not to be trusted: {wrong.verify_message}"
    if isinstance(wrong, ssl.SSLError):
        return f"TLS fails: {(wrong.reason or str(wrong)).replace('_', ' ').lower()}"
    if isinstance(wrong, EOFError):
        return "it closed the connection"
    if isinstance(wrong, OSError) and wrong.errno is not None and wrong.errno > 0:
        return os.strerror(wrong.errno)  # asyncio writes addresses into `strerror`
    return (wrong.strerror if isinstance(wrong, OSError) else None) or str(wrong) or type(wrong).__name__
