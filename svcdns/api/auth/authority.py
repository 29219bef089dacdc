"""The authority: who sends a request and what they may do.

Access control and reviews ask the same one, so that reviews say what access control does.  All answers come
at once, in the event loop.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from aiohttp import web

from svcdns.api.paths import Action
from svcdns.config.sections import ApiConfig, Grant
from svcdns.config.seeing import ConsoleConfig

from .authentication import Authentication
from .authorization import BUILT_IN, decide, matching
from .sessions import Sessions
from .token_file import TokenFile
from .user import ANONYMOUS, User

_MOST_KEPT = 4096
"""Users whose grants are kept; reviews may ask about any number of them."""


class Authority(Protocol):
    """Knows who sends a request and what they may do."""

    @property
    def sessions(self) -> Sessions | None:
        """Return the sessions of those who logged in, None where there is no login."""

    def log_in(self, token: str) -> tuple[User, str]:
        """Return whose token this is, and the cookie of the session that begins ("": none is needed).

        Raises StatusError 401.
        """

    def user(self, request: web.Request) -> User:
        """Return who sends a request.  Raises StatusError 401."""

    def allowed(self, user: User, action: Action) -> tuple[bool, str]:
        """Return whether a user may do this, and why (not), for people to read."""

    def allowed_somewhere(self, user: User, action: Action) -> tuple[bool, str]:
        """Return whether a user may do this in some namespace, and why (not)."""


class Everyone:
    """The authority of a server without authentication: all may do everything."""

    sessions = None

    def log_in(self, token: str) -> tuple[User, str]:
        """Return the anonymous user, who needs no session."""
        return ANONYMOUS, ""

    def user(self, request: web.Request) -> User:
        """Return the anonymous user."""
        return ANONYMOUS

    def allowed(self, user: User, action: Action) -> tuple[bool, str]:
        """Return True."""
        return True, "this server runs without authentication"

    allowed_somewhere = allowed


class ConfiguredAuthority:
    """The authority of a server with tokens or client certificates: grants of the configuration and tokens.

    What a user was granted is looked up once and kept until the tokens change.
    """

    def __init__(
        self,
        config: ApiConfig,
        own_tokens: Iterable[tuple[str, str]] = (),
        console: ConsoleConfig | None = None,
    ) -> None:
        """`config` names the tokens and the grants; without tokens and client CA nobody is let in.

        `own_tokens` are those of the clients that the server brings along, by the names of these; `console`
        says whether somebody can log in (None: nobody).
        """
        self._tokens = TokenFile(config.tokens) if config.tokens else None
        self.sessions = Sessions(console.idle) if console and console.enabled and self._tokens else None
        """Of those who logged in with a token."""
        certificates = config.client_ca is not None
        self._authentication = Authentication(self._tokens, certificates, dict(own_tokens), self.sessions)
        self._grants = (*config.grant, *BUILT_IN)
        self._kept: dict[tuple[str, tuple[str, ...]], tuple[Grant, ...]] = {}
        self._kept_of = 0

    def user(self, request: web.Request) -> User:
        """Return who sends a request.  Raises StatusError 401."""
        return self._authentication.user(request)

    def log_in(self, token: str) -> tuple[User, str]:
        """Begin a session of a token.  Raises StatusError 401."""
        return self._authentication.log_in(token)

    def allowed(self, user: User, action: Action) -> tuple[bool, str]:
        """Return whether one of the user's grants allows this, and why (not)."""
        return decide(self._of(user), action, user.username)

    def allowed_somewhere(self, user: User, action: Action) -> tuple[bool, str]:
        """Return whether one of the user's grants allows this in a namespace of its own, and why (not)."""
        grants = self._of(user)
        namespaces = dict.fromkeys(name for grant in grants for name in grant.namespaces or ("",))
        decided = (decide(grants, action._replace(namespace=name), user.username) for name in namespaces)
        return next((one for one in decided if one[0]), (False, ""))

    def _of(self, user: User) -> tuple[Grant, ...]:
        """Return all grants of a user."""
        reads = 0
        if self._tokens is not None:
            self._tokens.refresh()
            reads = self._tokens.reads
        if reads != self._kept_of or len(self._kept) > _MOST_KEPT:
            self._kept.clear()
            self._kept_of = reads
        key = (user.username, user.groups)
        if key not in self._kept:
            self._kept[key] = (*self._of_token(user), *matching(self._grants, *key))
        return self._kept[key]

    def _of_token(self, user: User) -> tuple[Grant, ...]:
        lines = self._tokens.tokens if self._tokens else ()
        return tuple(
            Grant(user=line.name, role=line.role, namespaces=line.namespaces)
            for line in lines
            if line.name == user.username
        )
