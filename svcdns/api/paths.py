"""What a request path points at, and which methods are allowed there.

    /api/v1/RESOURCE[/NAME[/status]]                            cluster-scoped, or a list of all namespaces
    /api/v1/namespaces/NAMESPACE/RESOURCE[/NAME[/status]]
    /api/v1/watch/...                                           a watch of the same (deprecated by Kubernetes)
    /apis/GROUP/VERSION/...                                     the same below a named group

A trailing slash means nothing.  An empty segment inside the path points at nothing: a script whose
namespace variable is unset must not end up at another object.
https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-uris
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import NamedTuple
from urllib.parse import unquote

from svcdns.objects.kinds import KINDS, NAMESPACE, POD, Kind, by_path

LONGEST_NAME = 253
"""Octets of the longest name an object can have."""

READ = ("GET", "HEAD")
HEARTBEAT = "heartbeat"
"""The subresource of a Pod by which it shows that it lives."""


@dataclass(frozen=True, slots=True)
class Target:
    """A collection (`name` empty), an object, or the status of an object."""

    kind: Kind
    namespace: str = ""
    """Empty for cluster-scoped kinds and for a list of all namespaces."""
    name: str = ""
    subresource: str = ""
    """Empty or one of `subresources`."""
    watched: bool = False
    """Whether the path itself asks for a watch; `only` is the one object that is meant then, or ""."""
    only: str = ""

    @property
    def resource(self) -> str:
        """Return the resource as metrics and permissions name it: "services" or "services/status"."""
        return f"{self.kind.plural}/{self.subresource}" if self.subresource else self.kind.plural

    def can_exist(self) -> bool:
        """Return whether any object could have these names; keeps odd keys away from the store."""
        return all(
            len(word.encode()) <= LONGEST_NAME and word.isprintable()
            for word in (self.namespace, self.name, self.only)
        )


class Action(NamedTuple):
    """What somebody would do, as permissions are given for it; any of it may be something that doesn't exist.

    `verb` is Kubernetes' ("get", "list", "create" ...), `group` "" for the core group, `resource` a plural
    ("pods"), `subresource` "" or "status".  `namespace` is "" for cluster-scoped resources, and for all
    namespaces of the others; `name` is "" for all.
    """

    verb: str
    group: str
    resource: str
    subresource: str = ""
    namespace: str = ""
    name: str = ""


@functools.lru_cache(256)  # objects are created at one path, over and over
def parse(raw_path: str) -> Target | None:
    """Return what a percent-encoded path points at, None where the server has nothing."""
    segments = [unquote(segment) for segment in raw_path.removesuffix("/").split("/")[1:]]
    if not all(segments):
        return None
    match segments:
        case ["api", version, *rest]:
            return _below("", version, rest)
        case ["apis", group, version, *rest] if group:
            return _below(group, version, rest)
    return None


def meant(raw_path: str) -> str:
    """Return the path that a wrong one is most likely meant to be, "" where none comes to mind.

    Looked for is a kind by any of its names, in whatever else the path says: /services, /api/v1/pod.
    """
    words = [unquote(segment).lower() for segment in raw_path.split("/") if segment]
    for at, word in enumerate(words):
        kind = _called(word)
        if kind is None or at + 2 < len(words):
            continue  # a namespace that more follows, or a subresource that is not there
        before = words[at - 1] if at > 1 and words[at - 2] in ("namespaces", "namespace", "ns") else "default"
        space = f"/namespaces/{before}" if kind.namespaced else ""
        name = f"/{words[at + 1]}" if at + 1 < len(words) else ""
        found = f"/apis/{kind.group}/{kind.version}" if kind.group else f"/api/{kind.version}"
        path = f"{found}{space}/{kind.plural}{name}"
        return path if path.isprintable() and len(path) < LONGEST_NAME and parse(path) is not None else ""
    return ""


def _called(word: str) -> Kind | None:
    names = ((kind, (kind.plural, kind.singular, *kind.short_names)) for kind in KINDS)
    return next((kind for kind, called in names if word in called), None)


def instead(target: Target, method: str) -> str:
    """Return what somebody who asks for a collection by a method that it has not may want, or ""."""
    if method == "POST" and target.kind.namespaced and not target.namespace and not target.kind.read_only:
        path = f"/apis/{target.kind.group}" if target.kind.group else "/api"
        path = f"{path}/{target.kind.version}/namespaces/NAMESPACE/{target.kind.plural}"
        return f"objects are created in a namespace: POST {path}"
    if method == "POST" and target.name and not target.subresource:
        return "an object that is there is changed by PUT or PATCH, a new one is created in its collection"
    return ""


def subresources(kind: Kind) -> dict[str, tuple[str, ...]]:
    """Return the subresources of a kind and the methods that mean something there."""
    status = {"status": (*READ, "PUT", "PATCH")} if kind.has_status else {}
    return status | _OTHER_SUBRESOURCES.get(kind, {})


_OTHER_SUBRESOURCES: dict[Kind, dict[str, tuple[str, ...]]] = {
    NAMESPACE: {"finalize": ("PUT",)},
    POD: {"eviction": ("POST",), HEARTBEAT: ("POST",)},
}


def _below(group: str, version: str, rest: list[str]) -> Target | None:
    if rest[:1] == ["watch"]:
        found = _below(group, version, rest[1:])
        if found is None or found.subresource:
            return None
        return Target(found.kind, found.namespace, watched=True, only=found.name)
    namespace = ""
    if len(rest) > 2 and rest[0] == "namespaces" and rest[2] not in ("status", "finalize"):
        namespace, rest = rest[1], rest[2:]
    if not 1 <= len(rest) <= 3:
        return None
    plural, name, subresource = (*rest, "", "")[:3]
    kind = by_path(group, version, plural)
    if kind is None or not _scope_fits(kind, namespace, name):
        return None
    if subresource and subresource not in subresources(kind):
        return None
    return Target(kind, namespace, name, subresource)


def _scope_fits(kind: Kind, namespace: str, name: str) -> bool:
    if not kind.namespaced:
        return not namespace
    return bool(namespace) or not name


def allowed_methods(target: Target) -> tuple[str, ...]:
    """Return the HTTP methods that mean something there (as in Kubernetes: no DELETE of all namespaces)."""
    if target.kind.read_only or target.watched:
        return READ
    if target.subresource:
        return subresources(target.kind)[target.subresource]
    if target.name:
        return (*READ, "PUT", "PATCH", "DELETE")
    if target.kind is NAMESPACE:
        return (*READ, "POST")
    return (*READ, "POST", "DELETE") if target.namespace or not target.kind.namespaced else READ


_VERBS = {
    "GET": ("list", "get"),
    "HEAD": ("list", "get"),
    "POST": ("create", "create"),
    "PUT": ("update", "update"),
    "PATCH": ("patch", "patch"),
    "DELETE": ("deletecollection", "delete"),
}


def verb_of(target: Target | None, method: str, watching: bool) -> str:
    """Return Kubernetes' verb of a request: what metrics count and permissions are given for."""
    if target is None:
        return method.lower() if method in _VERBS else "other"
    if method not in _VERBS:
        return "other"
    if target.subresource == HEARTBEAT:
        return "update"  # what it is a right of: nothing is created
    verb = _VERBS[method][bool(target.name)]
    return "watch" if verb == "list" and (watching or target.watched) else verb
