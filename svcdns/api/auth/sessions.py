"""Sessions: who logged in with a token on the console's page, known by a cookie from then on.

Rules:

* the cookie is a random number, never the token; here stand the digests of both, in memory: a restart logs
  everybody out;
* a session is good while its token is: the token file is asked at each request, so a token that was revoked
  ends its sessions at once;
* it counts for looking only: GET and HEAD below /console/, and of the API with the header that only the
  page's own script can send (a form or an image of another site can't set one).  So there is nothing to forge
  (https://owasp.org/www-community/attacks/csrf); logging out is the one exception;
* who tries tokens is stopped after 5 of them a minute, by address.

Times are those of a clock that is never set.
"""

from __future__ import annotations

import secrets
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from http.cookies import SimpleCookie
from typing import Final

from aiohttp import web

from svcdns.api import console_paths, paths
from svcdns.api.negotiation import wants_web_socket
from svcdns.objects.errors import StatusError

from .token_lines import digest_of

HEADER = "X-Svcdns-Console"
LONGEST = 30 * 86_400.0
"""Seconds that a session lasts at most."""
TRIES, TRIES_SECONDS = 5, 60.0
_COOKIE = "svcdns"
_MOST, _MOST_ADDRESSES = 1024, 4096
_OCTETS: Final = 32

Clock = Callable[[], float]


@dataclass(slots=True)
class _Session:
    token: bytes
    """The digest of the token."""
    begun: float
    used: float


class Sessions:
    """The sessions of one server; `idle` is how many seconds one lasts without a look."""

    def __init__(self, idle: float, clock: Clock = time.monotonic) -> None:
        self._idle = idle
        self._clock = clock
        self._sessions: dict[bytes, _Session] = {}
        """By the digest of the cookie, the one that was used last at the end."""
        self._tries: dict[str, deque[float]] = {}
        """When the last ones came, by address."""

    def check_try(self, address: str) -> None:
        """Count that an address tries to log in.  Raises StatusError 429 where it did too often."""
        now = self._clock()
        tries = self._tries.setdefault(address, deque(maxlen=TRIES))
        if len(tries) == TRIES and now - tries[0] < TRIES_SECONDS:
            wait = int(TRIES_SECONDS - (now - tries[0])) + 1
            text = f"{TRIES} logins a minute are allowed; try again in {wait} s"
            raise StatusError(429, "TooManyRequests", text, retry_after=wait)
        tries.append(now)
        while len(self._tries) > _MOST_ADDRESSES:
            del self._tries[next(iter(self._tries))]

    def begin(self, token: bytes) -> str:
        """Begin a session of a token (its digest); return what the cookie says."""
        said = secrets.token_urlsafe(_OCTETS)
        now = self._clock()
        self._sessions[_digest(said)] = _Session(token, now, now)
        while len(self._sessions) > _MOST:
            del self._sessions[next(iter(self._sessions))]
        return said

    def find(self, said: str) -> bytes | None:
        """Return the digest of the token whose session a cookie means, None where it means none."""
        key = _digest(said)
        session = self._sessions.pop(key, None)
        now = self._clock()
        if session is None or now - session.used > self._idle or now - session.begun > LONGEST:
            return None
        session.used = now
        self._sessions[key] = session
        return session.token

    def end(self, said: str) -> None:
        """End a session."""
        self._sessions.pop(_digest(said), None)


def _digest(said: str) -> bytes:
    return digest_of(said.encode(errors="surrogateescape"))


def cookie_of(request: web.Request) -> str:
    """Return what the session's cookie says, "" where there is none."""
    return request.cookies.get(_name(request), "")


def counts(request: web.Request) -> bool:
    """Return whether a cookie counts for this request."""
    path = request.rel_url.raw_path
    if console_paths.is_session(path):
        return True  # it says who is logged in, or logs out
    if request.method not in paths.READ or wants_web_socket(request):
        return False
    return console_paths.is_at(path) or HEADER in request.headers


def cookie_header(request: web.Request, said: str) -> str:
    """Return the Set-Cookie header that keeps a session, or with "" forgets it (RFC 6265 section 4.1)."""
    name = _name(request)
    cookie: SimpleCookie = SimpleCookie({name: said})
    cookie[name]["path"] = "/"
    cookie[name]["httponly"] = True
    cookie[name]["samesite"] = "Strict"
    if request.secure:
        cookie[name]["secure"] = True
    cookie[name]["max-age"] = int(LONGEST) if said else 0
    return cookie[name].OutputString()


def _name(request: web.Request) -> str:
    """Return the cookie's name: over TLS one that a browser takes from this very host only."""
    return f"__Host-{_COOKIE}" if request.secure else _COOKIE
