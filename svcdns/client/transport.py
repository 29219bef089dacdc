"""What both clients share about sending: time limits, warnings, and what it means when nothing answers."""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import httpcore

from .connection import Connection
from .exchange import Response, Unreachable

SECONDS = 30.0
"""How long an answer may take."""
_CONNECT_SECONDS = 5.0
_ERRNO = re.compile(r"^\[errno -?\d+\] ")
_WARNING = re.compile(rb'299 \S+ "((?:[^"\\]|\\.)*)"')


def extensions(seconds: float | None) -> dict[str, Any]:
    """Return httpcore's time limits; None: an answer that never ends may take for ever."""
    connect = _CONNECT_SECONDS if seconds is None else min(seconds, _CONNECT_SECONDS)
    return {"timeout": {"connect": connect, "read": seconds, "write": connect, "pool": connect}}


def reading(status: int, headers: Sequence[tuple[bytes, bytes]], body: bytes) -> Response:
    """Return the response that these octets are, with its warnings (RFC 9111 section 5.5)."""
    given = b", ".join(value for name, value in headers if name.lower() == b"warning")
    texts = (re.sub(rb"\\(.)", rb"\1", text).decode(errors="replace") for text in _WARNING.findall(given))
    return Response(status, body, tuple(texts))


@contextmanager
def why_unreachable(connection: Connection, seconds: float | None) -> Iterator[None]:
    """Raise Unreachable for what goes wrong on the way: where it was, and what may help.

    `seconds` is how long an answer might take.
    """
    try:
        yield
    except (httpcore.ConnectTimeout, httpcore.PoolTimeout):
        text = "no connection in time; is that address right, and does a firewall let it through?"
        raise Unreachable(f"{_where(connection)} can't be reached: {text}") from None
    except httpcore.TimeoutException:
        within = "in time" if seconds is None else f"within {seconds:g} s"
        raise Unreachable(f"{_where(connection)} did not answer {within}; is that svcdns?") from None
    except (httpcore.NetworkError, httpcore.ProtocolError, OSError) as wrong:
        raise Unreachable(f"{_where(connection)} can't be reached: {_why(wrong)}") from None


def _where(connection: Connection) -> str:
    return f"{connection.url} ({connection.found})" if connection.found else connection.url


def _why(wrong: BaseException) -> str:
    text = _ERRNO.sub("", str(wrong).lower()) or type(wrong).__name__
    cause = wrong.__cause__ or wrong.__context__
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"its certificate is not to be trusted: {cause.verify_message}; allowed: SVCDNS_CA=FILE"
    if isinstance(cause, ssl.SSLError) and cause.reason == "WRONG_VERSION_NUMBER":
        return "it speaks no TLS; does it want http?"
    if isinstance(wrong, httpcore.RemoteProtocolError) and "http" in text:
        return "it speaks no HTTP; does it want https?"
    if "refused" in text:
        return "connection refused; is the server running? svcdns serve"
    return text
