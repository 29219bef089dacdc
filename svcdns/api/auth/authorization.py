"""What users may do: roles, in all namespaces or in some.

    view       get, list, watch
    node       view, and to write Events, Nodes and their Leases: what a proxy takes
    edit       view, and every write of what lives in a namespace, status included
    admin      edit, and Namespaces themselves
               (system:node:NAME: of the Node NAME and its Lease)
    heartbeat  update pods/heartbeat, and nothing else: for a process that keeps its Pod alive
    prober     view, and to write Events and the status of Pods: of a server's own prober, no grant gives it
    source     view, and to write Events, Pods and Services, and make Namespaces: of a server's own process
               that registers containers, no grant gives it

Rules:

* a user may do what any of their grants allows: those of the configuration for them or their groups,
  and the one that their token's line is;
* a grant for some namespaces shows those Namespace objects, one by one; a list of all namespaces, or of
  all Namespaces, takes a grant for all, and so do SubjectAccessReviews;
* a user `system:node:NAME` with the role `node` writes that one Node and its Lease only.  What is created has
  its name in the body: `create` without a name is let pass here, and asked about again with one;
* everybody may ask what they themselves may do.

https://kubernetes.io/docs/reference/access-authn-authz/admission-controllers/#noderestriction
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from svcdns.api.paths import HEARTBEAT, Action
from svcdns.api.review_kinds import ACCESS, REVIEWS
from svcdns.config.sections import Grant
from svcdns.objects.kinds import EVENT, KINDS, LEASE, NAMESPACE, NEWER_EVENT, NODE, POD, SERVICE

ADMINS = "svcdns:admins"
"""The group that may do everything; the client certificate of `svcdns certs init` is of it."""
PROXIES = "svcdns:proxies"
"""The group of those who carry traffic; the proxy of a server of `svcdns serve --proxy` is of it."""
PROBERS = "svcdns:probers"
"""The group of those who probe Pods; the prober of a server is of it."""
SOURCES = "svcdns:sources"
"""The group of those who register what others know; a server's process for containers is of it."""
BUILT_IN = (
    Grant(group=ADMINS, role="admin"),
    Grant(group=PROXIES, role="node"),
    Grant(group=PROBERS, role="prober"),
    Grant(group=SOURCES, role="source"),
)

READING = frozenset({"get", "list", "watch"})
WRITING = frozenset({"create", "update", "patch", "delete", "deletecollection"})
REPORTING = frozenset({"create", "update", "patch"})
NODE_LEASES = "kube-node-lease"
"""The namespace whose Leases say that nodes are there; who may write there may say how far a proxy is."""
_OF_LEASES = frozenset((kind.group, kind.plural) for kind in (LEASE, NAMESPACE))
"""Leases, and their Namespace, which a proxy applies where it is missing."""
NODE_USER = "system:node:"
"""How the name of a user begins who is one node, as in Kubernetes."""
NAMED_BY_NODES = (NODE, LEASE)
"""Kinds whose objects are a node's own by their names."""
GENERATED = "(generated)"
"""The name of what is created without one, when it is asked about."""
_EVENTS = frozenset((kind.group, kind.plural) for kind in (EVENT, NEWER_EVENT))
_REPORTED = _EVENTS | {(NODE.group, NODE.plural)}

_OF_SOURCES = frozenset((kind.group, kind.plural) for kind in (POD, SERVICE))
_POD_STATUS = ((POD.group, POD.plural), "status")
_NAMED_BY_NODES = frozenset((kind.group, kind.plural) for kind in NAMED_BY_NODES)
_KNOWN = frozenset((kind.group, kind.plural) for kind in KINDS)
_NAMESPACED = frozenset((kind.group, kind.plural) for kind in KINDS if kind.namespaced)
_OWN_REVIEWS = frozenset((kind.group, kind.plural) for kind in REVIEWS if kind is not ACCESS)


def matching(grants: Iterable[Grant], user: str, groups: Iterable[str]) -> Iterator[Grant]:
    """Yield the grants that are for this user or one of these groups."""
    among = frozenset(groups)
    for grant in grants:
        if grant.user == user if grant.user else grant.group in among:
            yield grant


def decide(grants: Iterable[Grant], action: Action, user: str = "") -> tuple[bool, str]:
    """Return whether these grants allow a user something, and which role does.

    A status is as its object is.
    """
    resource, namespace = (action.group, action.resource), action.namespace
    if resource in _OWN_REVIEWS:
        asks = action.verb == "create"
        return asks, "everybody may ask about themselves" if asks else ""
    if resource == (NAMESPACE.group, NAMESPACE.plural):
        namespace = action.name  # a Namespace counts as inside itself
    for grant in grants:
        in_scope = not grant.namespaces or namespace in grant.namespaces
        if in_scope and _role_allows(grant.role, action, namespace, user):
            where = ", ".join(grant.namespaces)
            return True, f"role {grant.role} in {where}" if where else f"role {grant.role}"
    return False, ""


def _role_allows(role: str, action: Action, namespace: str, user: str) -> bool:
    verb, resource = action.verb, (action.group, action.resource)
    if role == "admin":
        return True
    if role == HEARTBEAT:
        return (verb, resource, action.subresource) == ("update", (POD.group, POD.plural), HEARTBEAT)
    if verb in READING:
        return resource in _KNOWN
    if role == "node":
        is_lease = resource in _OF_LEASES and namespace == NODE_LEASES
        return verb in REPORTING and (resource in _REPORTED or is_lease) and _is_own(user, action)
    if role == "prober":
        return verb in REPORTING and (resource in _EVENTS or (resource, action.subresource) == _POD_STATUS)
    if role == "source":
        is_own = resource in _OF_SOURCES and not action.subresource
        makes_namespace = verb == "create" and resource == (NAMESPACE.group, NAMESPACE.plural)
        return (verb in REPORTING and resource in _EVENTS) or makes_namespace or (verb in WRITING and is_own)
    return role == "edit" and verb in WRITING and resource in _NAMESPACED


def _is_own(user: str, action: Action) -> bool:
    """Return whether a user who is one node may write this, as far as its name says."""
    if not user.startswith(NODE_USER) or (action.group, action.resource) not in _NAMED_BY_NODES:
        return True
    return action.name == user.removeprefix(NODE_USER) or (action.verb == "create" and not action.name)
