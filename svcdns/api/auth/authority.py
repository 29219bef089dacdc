"""The authority: who sends a request and what they may do, from the configuration and the file of tokens.

Access control and reviews ask it, so that reviews say what access control does.  All answers come at once,
in the event loop; what a user was granted is looked up once and kept until the tokens change.
"""

from __future__ import annotations

from aiohttp import web

from svcdns.api.reviews import User
from svcdns.config.sections import ApiConfig, Grant

from .authentication import Authentication
from .authorization import BUILT_IN, decide, matching
from .token_file import TokenFile

_MOST_KEPT = 4096
"""Users whose grants are kept; reviews may ask about any number of them."""


class Authority:
    """Knows users and their grants."""

    def __init__(self, config: ApiConfig) -> None:
        """`config` names the tokens and the grants; without tokens and client CA nobody is let in."""
        self._tokens = TokenFile(config.tokens) if config.tokens else None
        certificates = config.client_ca is not None
        self._authentication = Authentication(self._tokens, certificates=certificates)
        self._grants = (*config.grant, BUILT_IN)
        self._kept: dict[tuple[str, tuple[str, ...]], tuple[Grant, ...]] = {}
        self._kept_of = 0

    def user(self, request: web.Request) -> User:
        """Return who sends a request.  Raises StatusError 401."""
        return self._authentication.user(request)

    def allowed(
        self, user: User, verb: str, group: str, resource: str, subresource: str, namespace: str, name: str
    ) -> tuple[bool, str]:
        """Return whether a user may do something, and why; see `svcdns.api.reviews.Authority`."""
        return decide(self._of(user), verb, group, resource, namespace, name)

    def _of(self, user: User) -> tuple[Grant, ...]:
        """Return all grants of a user."""
        reads = 0
        if self._tokens is not None:
            self._tokens.look()
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
