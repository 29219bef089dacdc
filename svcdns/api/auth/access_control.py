"""Access control: whether a request may go on, decided before its body or any object is read.

    Host ─▶ Origin ─▶ who? (401) ─▶ may they? (403)

Rules:

* a refusal says what was asked for and by whom, never what is there: it is decided before anything is
  looked up, so it reads the same for what exists and what doesn't;
* liveness and readiness are for anyone; discovery, the schema, /resolv.conf and the reviews about
  oneself to all who said who they are; /metrics to those who may view all namespaces; the cache is emptied
  by administrators of all namespaces;
* a web page of somewhere else neither writes nor watches over a WebSocket, nor asks for what only svcdns has;
* the console's files are for anyone, and so is logging in; what pages show is asked for as by any client;
* an API that asks nobody who they are listens to names it knows only, or a web page whose own name was
  made to point at this machine (DNS rebinding) could talk to it;
* nobody acts in another's name: a request that wants to is refused, since to ignore it would answer
  `kubectl auth can-i --as` wrongly.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_address
from urllib.parse import urlsplit

from aiohttp import web

from svcdns.api import (
    cache_route,
    console_paths,
    containers_route,
    explain_route,
    paths,
    proxies_route,
    seeing_route,
    status_route,
)
from svcdns.api.negotiation import wants_web_socket
from svcdns.api.paths import Action
from svcdns.objects.errors import StatusError
from svcdns.objects.field_selectors import FieldSelector
from svcdns.objects.kinds import NAMESPACE

from .authority import Authority, Everyone
from .authorization import GENERATED, NAMED_BY_NODES
from .sessions import Sessions
from .user import User

FOR_ANYONE = frozenset({"/livez", "/readyz", "/healthz"})
USER = web.RequestKey("user", User)
"""Where a request carries its user, once that is known."""

READING_METRICS = Action("list", NAMESPACE.group, NAMESPACE.plural)
"""Metrics say much of all namespaces: they are for those who may do this."""

_OTHER = "other"
"""The verb of methods that mean nothing here (see paths.verb_of)."""
_AS_METRICS = ("/metrics", status_route.PATH, containers_route.PATH, *seeing_route.PATHS)
_OWN_PATHS = "/svcdns/"
_ELSEWHERE = "requests from web pages of another origin are forbidden"
_IMPERSONATION = "Impersonate-User"
_DEFAULT_PORTS = {"http": 80, "https": 443}
_LONGEST = 300
"""Characters of a name that a refusal repeats."""


class AccessControl:
    """Decides which requests may go on."""

    def __init__(self, authority: Authority | None, names: frozenset[str] | None = None) -> None:
        """`authority` None: nobody is asked who they are; `names` None: the API goes by any host name."""
        self._authority = authority or Everyone()
        self._names = names

    def check(self, request: web.Request, target: paths.Target | None, verb: str) -> None:
        """Return when the request may go on, with its USER set.  Raises StatusError 401 or 403."""
        path = "" if target else request.rel_url.raw_path.rstrip("/")
        if path in FOR_ANYONE:
            return
        _check_protocol(request)
        if self._names is not None:
            _check_host(request.headers.get("Host"), self._names)
        _check_origin(request)
        if console_paths.is_at(path):
            return
        user = self.identify(request)
        if _IMPERSONATION in request.headers:
            raise _forbidden(user, Action("impersonate", "", "users", name=request.headers[_IMPERSONATION]))
        if target is not None:
            self._check_allowed(request, user, target, verb)
        elif path in _AS_METRICS and not self._authority.allowed(user, READING_METRICS)[0]:
            text = f'forbidden: User "{user.username}" cannot get path "{path}"'
            raise StatusError(403, "Forbidden", text)
        elif path == explain_route.PATH and not self._authority.allowed(user, explain_route.EXPLAINING)[0]:
            raise _forbidden(user, explain_route.EXPLAINING)
        elif proxies_route.is_report(path):
            self.check_action(request, proxies_route.reporting(path))
        elif cache_route.is_at(path) and not self._authority.allowed(user, cache_route.FLUSHING)[0]:
            text = f'forbidden: User "{user.username}" cannot {verb} path "{path[:_LONGEST]}"'
            raise StatusError(403, "Forbidden", text)

    def identify(self, request: web.Request) -> User:
        """Return who sends a request, which carries that from now on.  Raises StatusError 401."""
        user = request[USER] = self._authority.user(request)
        return user

    @property
    def sessions(self) -> Sessions | None:
        """Return the sessions of those who logged in, None where there is no login."""
        return self._authority.sessions

    def log_in(self, request: web.Request, token: str) -> str:
        """Begin the session of a token; return what its cookie says.  Raises StatusError 401."""
        request[USER], said = self._authority.log_in(token)
        return said

    def check_created(self, request: web.Request, target: paths.Target, name: str) -> None:
        """Return when who sends a request that `check` let pass may create something of this name ("": any).

        Raises StatusError 403.
        """
        if target.kind in NAMED_BY_NODES:
            kind = target.kind
            named = name or GENERATED
            self.check_action(request, Action("create", kind.group, kind.plural, "", target.namespace, named))

    def check_action(self, request: web.Request, action: Action) -> None:
        """Return when who sends a request that `check` let pass may do this.  Raises StatusError 403."""
        if not self._authority.allowed(request[USER], action)[0]:
            raise _forbidden(request[USER], action)

    def check_again(self, request: web.Request, actions: Iterable[Action]) -> None:
        """Return when who sent a request is still known, and may still do all this.

        Raises StatusError 401 and 403.
        """
        self.identify(request)
        for action in actions:
            self.check_action(request, action)

    def _check_allowed(self, request: web.Request, user: User, target: paths.Target, verb: str) -> None:
        if verb == _OTHER:
            return  # no method of ours: 405, whoever asks
        kind, name = target.kind, target.name or _selected_name(request, target, verb)
        action = Action(verb, kind.group, kind.plural, target.subresource, target.namespace, name)
        if not self._authority.allowed(user, action)[0]:
            raise _forbidden(user, action._replace(name=target.name))


def _selected_name(request: web.Request, target: paths.Target, verb: str) -> str:
    """Return the one Namespace that a list or watch is about: `kubectl get namespace shop -w` sends one."""
    selector = request.query.get("fieldSelector", "")
    if target.kind is not NAMESPACE or verb not in ("list", "watch") or not selector:
        return ""
    try:
        return FieldSelector.parse(selector, NAMESPACE).exact("metadata.name") or ""
    except StatusError:
        return ""


def _check_protocol(request: web.Request) -> None:
    """Raise StatusError for HTTP/0.9; aiohttp itself refuses 1.1 without Host (RFC 9112 section 3.2)."""
    if request.version < (1, 0):
        raise StatusError(505, "BadRequest", "HTTP/1.1 or HTTP/1.0 is expected")


def _check_host(host: str | None, names: frozenset[str]) -> None:
    """Raise StatusError unless a request was sent to an address, to localhost, or to one of the names."""
    if host is None:
        return  # HTTP/1.0: no browser leaves it out
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
    name = name.lower().removesuffix(".")
    if name == "localhost" or name in names or _is_address(name.removeprefix("[").removesuffix("]")):
        return
    text = (
        f"this API was addressed as {name[:_LONGEST]!r}, which is none of its names: use an IP address or "
        "localhost, or set names in the [api] section of the configuration"
    )
    raise StatusError(403, "Forbidden", text)


def _is_address(text: str) -> bool:
    try:
        return bool(ip_address(text))
    except ValueError:
        return False


def _check_origin(request: web.Request) -> None:
    """Raise StatusError when a web page of somewhere else would write, read from a WebSocket, or look around.

    What someone has open in a browser must not write to an API on their loopback address: browsers say
    where a request comes from (Origin, and Fetch Metadata, https://www.w3.org/TR/fetch-metadata/). They keep
    answers from pages of elsewhere, but not what a WebSocket says (RFC 6455 section 10.2). Other clients say
    nothing, or name the server itself.

    Who shows a token in a header is no page of elsewhere: browsers send that header only after this server
    has agreed to it (https://fetch.spec.whatwg.org/#http-cors-protocol), which it never does, and with no
    WebSocket.  It is a program that passes on what its own pages ask, as Headlamp does, their Origin and all.
    """
    if _shows_token(request):
        return
    site = request.headers.get("Sec-Fetch-Site", "none").strip().lower()
    if request.method in paths.READ and not wants_web_socket(request):
        if site == "cross-site" and request.rel_url.raw_path.startswith(_OWN_PATHS):
            raise StatusError(403, "Forbidden", _ELSEWHERE)
        return
    same = site in ("none", "same-origin")
    if not same or not all(_is_of(origin, request.host) for origin in request.headers.getall("Origin", ())):
        raise StatusError(403, "Forbidden", _ELSEWHERE)


def _shows_token(request: web.Request) -> bool:
    return request.headers.get("Authorization", "").lower().startswith("bearer ")


def _is_of(origin: str, host: str) -> bool:
    """Return whether an Origin is this server, as Host names it; a default port may be left out."""
    try:
        page, here = urlsplit(origin), urlsplit(f"//{host}")
        port = _DEFAULT_PORTS.get(page.scheme)
        return bool(page.hostname) and (page.hostname, page.port or port) == (
            here.hostname,
            here.port or port,
        )
    except ValueError:
        return False


def _forbidden(user: User, action: Action) -> StatusError:
    """403 in Kubernetes' words."""
    plural, group, name = action.resource, action.group, action.name[:_LONGEST]
    resource = f"{plural}/{action.subresource}" if action.subresource else plural
    what = (f"{plural}.{group}" if group else plural) + (f' "{name}"' if name else "")
    namespace = action.namespace[:_LONGEST]
    where = f'in the namespace "{namespace}"' if namespace else "at the cluster scope"
    text = (
        f'{what} is forbidden: User "{user.username}" cannot {action.verb} resource "{resource}" '
        f'in API group "{group}" {where}'
    )
    return StatusError(403, "Forbidden", text, kind=plural, name=name, group=group)
