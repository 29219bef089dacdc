"""Who sends a request: by a bearer token, or by the certificate that the client showed in the handshake.

Rules:

* a request with an Authorization header is who the token says, or nobody: a certificate beside it does
  not count then, and what is no good token is refused, not ignored;
* the client of a WebSocket that can't set that header, as a page in a browser can't, offers the token as a
  subprotocol, beside another one: it counts as the header would;
* without either, the cookie of a session counts where `sessions` says so, as its token would;
* a certificate's common name is the user, its organizations are the groups.  That it is good was
  checked in the handshake (see svcdns.server.tls);
* every refusal has one text: it does not say what was wrong, and nothing of it is logged.

https://kubernetes.io/docs/reference/access-authn-authz/authentication/
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from hmac import compare_digest
from typing import Any

from aiohttp import web

from svcdns.api.negotiation import TOKEN_PROTOCOL, subprotocols, wants_web_socket
from svcdns.objects.errors import StatusError

from .authorization import PROBERS, PROXIES, SOURCES
from .sessions import Sessions, cookie_of, counts
from .token_file import TokenFile
from .token_lines import digest_of
from .user import User

AUTHENTICATED = "system:authenticated"
"""The group of all who said who they are."""
CHALLENGE = 'Bearer realm="svcdns"'
"""WWW-Authenticate of a refusal (RFC 6750, section 3)."""
OWN_CLIENTS = {
    "proxy": User("svcdns:proxy", "", (PROXIES, AUTHENTICATED)),
    "prober": User("svcdns:prober", "", (PROBERS, AUTHENTICATED)),
    "containers": User("svcdns:containers", "", (SOURCES, AUTHENTICATED)),
}
"""The processes that a server brings along, each known by a token that only the two have, in memory."""
_LONGEST_TOKEN = 512
"""Characters; ours have 50."""


@dataclass(frozen=True, slots=True)
class Authentication:
    """Finds the user of a request."""

    _tokens: TokenFile | None
    """None: no token is good."""
    _certificates: bool
    """Whether those of clients count."""
    _own_tokens: Mapping[str, str] = field(default_factory=dict)
    """By the names of OWN_CLIENTS."""
    sessions: Sessions | None = None
    """Of those who logged in with a token; None: nobody can."""

    def user(self, request: web.Request) -> User:
        """Return the user.  Raises StatusError 401."""
        given = request.headers.getall("Authorization", ()) or _offered(request)
        user = self._of_token(given) if given else self._of_session(request) or self._of_certificate(request)
        if user is None:
            raise StatusError(401, "Unauthorized", "Unauthorized")
        return user

    def _of_token(self, given: Iterable[str]) -> User | None:
        if self._tokens is None and not self._own_tokens:
            return None
        header, *more = given
        scheme, _, token = header.strip().partition(" ")
        token = token.strip()
        if more or scheme.lower() != "bearer" or not token or len(token) > _LONGEST_TOKEN:
            return None
        octets = token.encode(errors="surrogateescape")
        for name, own in self._own_tokens.items():
            if compare_digest(octets, own.encode()):
                return OWN_CLIENTS[name]
        return self._of_digest(digest_of(octets))

    def _of_digest(self, digest: bytes) -> User | None:
        found = None if self._tokens is None else self._tokens.find(digest)
        return None if found is None else User(found.name, "", (AUTHENTICATED,))

    def _of_session(self, request: web.Request) -> User | None:
        if self.sessions is None or not (said := cookie_of(request)) or not counts(request):
            return None
        digest = self.sessions.find(said)
        return None if digest is None else self._of_digest(digest)

    def log_in(self, token: str) -> tuple[User, str]:
        """Begin the session of a token; return its user and what the cookie says.  Raises StatusError 401."""
        digest = digest_of(token.encode(errors="surrogateescape"))
        user = self._of_digest(digest) if len(token) <= _LONGEST_TOKEN else None
        if user is None or self.sessions is None:
            raise StatusError(401, "Unauthorized", "Unauthorized")
        return user, self.sessions.begin(digest)

    def _of_certificate(self, request: web.Request) -> User | None:
        if not self._certificates or request.transport is None:
            return None
        certificate = request.transport.get_extra_info("peercert")
        return _of_subject(certificate["subject"]) if certificate else None


def _offered(request: web.Request) -> tuple[str, ...]:
    """Return the token of a WebSocket's subprotocols as an Authorization header has it, "" for no good one.

    https://github.com/kubernetes/apiserver/blob/master/pkg/authentication/request/websocket/protocol.go
    """
    words = subprotocols(request) if wants_web_socket(request) else []
    tokens = [word.removeprefix(TOKEN_PROTOCOL) for word in words if word.startswith(TOKEN_PROTOCOL)]
    if not tokens:
        return ()
    if len(tokens) > 1 or len(words) == 1:
        return ("",)
    try:
        octets = base64.b64decode(tokens[0] + "=" * (-len(tokens[0]) % 4), altchars=b"-_", validate=True)
        return (f"Bearer {octets.decode()}",)
    except ValueError:
        return ("",)


def _of_subject(subject: Iterable[Iterable[tuple[str, Any]]]) -> User | None:
    """Return the user of a certificate's subject, a tuple of RDNs as the ssl module gives it."""
    pairs = [pair for rdn in subject for pair in rdn]
    names = [value for key, value in pairs if key == "commonName"]
    groups = [value for key, value in pairs if key == "organizationName"]
    return User(names[-1], "", (*groups, AUTHENTICATED)) if names and names[-1] else None
