"""Reviews: what a client asks about itself and others, and the authority that knows.

Nothing here decides what somebody may do: an `Authority` does, the same that admits the requests, so that
`kubectl auth can-i` and `kubectl auth whoami` say what would really happen.  Here its answers are put into
the objects that clients expect.  Nothing is stored.

A path without objects has no namespace: heartbeats of many Pods may be sent by who may do so in some
namespace.

A "*" in a question means "each that there is" (in the namespace, where it names one): it is allowed when all
of them are.
https://kubernetes.io/docs/reference/access-authn-authz/authorization/#checking-api-access
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
from aiohttp import web

from svcdns.api.auth.access_control import READING_METRICS
from svcdns.api.auth.authority import Authority
from svcdns.api.auth.authorization import NODE_USER
from svcdns.api.auth.user import User
from svcdns.objects import schema
from svcdns.objects.errors import Cause, StatusError, bad_request, invalid
from svcdns.objects.kinds import KINDS, NAMESPACE, Kind

from . import (
    bodies,
    cache_route,
    discovery,
    explain_route,
    heartbeats_route,
    parameters,
    proxies_route,
    resolv_conf_route,
    responses,
    status_route,
)
from .paths import Action
from .review_kinds import ACCESS, METHODS, REVIEWS, SELF, SELF_RULES

Object = dict[str, Any]

_PATHS = [
    "/",
    "/api",
    "/api/*",
    "/apis",
    "/apis/*",
    "/healthz",
    "/livez",
    "/openapi/*",
    "/readyz",
    "/version",
    resolv_conf_route.PATH,
    proxies_route.WAIT,
]
"""Paths without objects, which whoever is let in may read."""
_METRICS = "/metrics"


class Reviews:
    """Answers the requests to the review endpoints."""

    def __init__(self, authority: Authority) -> None:
        """`authority` must answer at once: it is asked in the event loop."""
        self._authority = authority

    async def answer(self, request: web.Request, kind: Kind) -> web.Response:
        """Answer a request to a review's path.  Raises StatusError."""
        if request.method not in METHODS:
            refused = responses.status_answer(request, responses.method_not_allowed())
            refused.headers["Allow"] = ", ".join(METHODS)
            return refused
        options = parameters.write_options(request.query)
        given, repeated = await bodies.read_object(request, options.field_validation)
        review, warnings = schema.structure(kind, given, options.field_validation, fill_kind=True)
        if causes := list(schema.missing(kind, review)):
            raise invalid(kind.name, "", causes, kind.group)
        user = self._authority.user(request)
        octets = msgspec.json.encode({"metadata": {}, **review, "status": self._status(user, kind, review)})
        return responses.json_answer(request, octets, status=201, warnings=(*repeated, *warnings))

    def _status(self, user: User, kind: Kind, review: Object) -> Object:
        if kind is SELF:
            return {"userInfo": _user_info(user)}
        spec: Object = review["spec"]
        if kind is SELF_RULES:
            return self._rules(user, spec.get("namespace", ""))
        if kind is ACCESS:
            self._check_may_ask(user)
            user = _subject(spec)
        if ("resourceAttributes" in spec) == ("nonResourceAttributes" in spec):
            text = "exactly one of nonResourceAttributes or resourceAttributes must be specified"
            raise invalid(kind.name, "", [_invalid("spec.resourceAttributes", text)], kind.group)
        if "resourceAttributes" in spec:
            allowed, reason = self._may(user, spec["resourceAttributes"])
        else:
            allowed, reason = self._may_at(user, spec["nonResourceAttributes"]), ""
        return {"allowed": allowed, **({"reason": reason} if reason else {})}

    def _check_may_ask(self, user: User) -> None:
        """Raise StatusError 403 unless the user may ask what others may do."""
        allowed, reason = self._authority.allowed(user, Action("create", ACCESS.group, ACCESS.plural))
        if not allowed:
            text = f"{ACCESS.plural}.{ACCESS.group} is forbidden: {reason or 'not allowed'}"
            raise StatusError(403, "Forbidden", text, kind=ACCESS.plural, group=ACCESS.group)

    def _may(self, user: User, asked: Object) -> tuple[bool, str]:
        """Return whether the user may do all that the attributes name, and why (not)."""
        allowed, reason = True, ""
        for action in _actions(asked):
            allowed, reason = self._authority.allowed(user, action)
            if not allowed:
                break
        return allowed, reason

    def _may_at(self, user: User, asked: Object) -> bool:
        """Return whether the user may do something at a path without objects."""
        path, verb = asked.get("path", ""), asked.get("verb", "").lower()
        verb = "get" if verb == "head" else verb
        heartbeats = self._authority.allowed_somewhere(user, heartbeats_route.updating(""))[0]
        return any(
            verb == known_verb and (path == known or (known.endswith("*") and path.startswith(known[:-1])))
            for known_verb, known_paths in self._at_paths(user, heartbeats)
            for known in known_paths
        )

    def _at_paths(self, user: User, heartbeats: bool) -> Iterator[tuple[str, list[str]]]:
        """Yield what the user may do at paths without objects: a verb, and where."""
        yield "get", self._paths(user)
        if self._authority.allowed(user, cache_route.FLUSHING)[0]:
            yield "delete", [cache_route.PATH, cache_route.PATH + "/*"]
        if heartbeats:
            yield "post", [heartbeats_route.PATH]
        own = f"{proxies_route.REPORTS}{user.username.removeprefix(NODE_USER)}"
        if self._authority.allowed(user, proxies_route.reporting(proxies_route.REPORTS))[0]:
            yield "post", [proxies_route.REPORTS + "*"]
        elif (
            user.username.startswith(NODE_USER)
            and self._authority.allowed(user, proxies_route.reporting(own))[0]
        ):
            yield "post", [own]

    def _paths(self, user: User) -> list[str]:
        """Return the paths that the user may read."""
        paths = [*_PATHS]
        if self._authority.allowed(user, READING_METRICS)[0]:
            paths += [_METRICS, status_route.PATH]
        if self._authority.allowed(user, explain_route.EXPLAINING)[0]:
            paths.append(explain_route.PATH)
        return paths

    def _rules(self, user: User, namespace: str) -> Object:
        if not namespace:
            raise bad_request("no namespace on request: spec.namespace must name one")
        heartbeats = self._authority.allowed(user, heartbeats_route.updating(namespace))[0]
        at_paths = self._at_paths(user, heartbeats)
        return {
            "resourceRules": list(self._resource_rules(user, namespace)),
            "nonResourceRules": [{"verbs": [verb], "nonResourceURLs": urls} for verb, urls in at_paths],
            "incomplete": False,
        }

    def _resource_rules(self, user: User, namespace: str) -> Iterator[Object]:
        """Yield one rule for all resources of a group with the same verbs."""
        rules: dict[tuple[str, tuple[str, ...]], list[str]] = {}
        for kind, subresource, verbs in _all_resources():
            about = (kind.group, kind.plural, subresource, namespace if kind.namespaced else "")
            allowed = tuple(verb for verb in verbs if self._authority.allowed(user, Action(verb, *about))[0])
            if allowed:
                resource = f"{kind.plural}/{subresource}" if subresource else kind.plural
                rules.setdefault((kind.group, allowed), []).append(resource)
        for (group, common), resources in rules.items():
            yield {"verbs": list(common), "apiGroups": [group], "resources": resources}


def _user_info(user: User) -> Object:
    info: Object = {"username": user.username, "uid": user.uid, "groups": list(user.groups)}
    return {key: value for key, value in info.items() if value}


def _subject(spec: Object) -> User:
    """Return whom a SubjectAccessReview asks about.  Raises StatusError 422."""
    name, groups = spec.get("user", ""), spec.get("groups", [])
    if not name and not groups:
        cause = _invalid("spec.user", "at least one of user or groups must be specified")
        raise invalid(ACCESS.name, "", [cause], ACCESS.group)
    return User(name, spec.get("uid", ""), tuple(groups))


def _invalid(field: str, text: str) -> Cause:
    return Cause("FieldValueInvalid", f"Invalid value: {text}", field)


def _all_resources() -> Iterator[tuple[Kind, str, list[str]]]:
    """Yield (kind, subresource, verbs) of all that requests can be about."""
    for kind in (*KINDS, *REVIEWS):
        yield kind, "", discovery.verbs_of(kind)
        for name, _, verbs in discovery.subresources(kind):
            yield kind, name, verbs


def _actions(asked: Object) -> Iterator[Action]:
    """Yield each single thing that is asked about."""
    given = Action(*(asked.get(field, "") for field in Action._fields))
    verb, group, resource, subresource, namespace, name = given
    matching = [
        (kind, own, verbs)
        for kind, own, verbs in _all_resources()
        if group in ("*", kind.group)
        and resource in ("*", kind.plural)
        and subresource in ("*", own)
        and (kind.namespaced or not (namespace and resource == "*") or kind is NAMESPACE)
    ]
    if not matching:  # nothing of ours: let the authority say what it thinks of it
        yield given
    for kind, own, verbs in matching:
        for each in verbs if verb == "*" else [verb]:
            yield Action(each, kind.group, kind.plural, own, namespace if kind.namespaced else "", name)
