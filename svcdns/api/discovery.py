"""Discovery: which groups, versions, resources and verbs there are, in the aggregated and the legacy form.

The Content-Type of the answer says the form, not by its body alone.
https://kubernetes.io/docs/concepts/overview/kubernetes-api/#discovery-api
"""

from __future__ import annotations

import platform
from collections.abc import Iterable, Iterator
from typing import Any

from svcdns.objects import openapi
from svcdns.objects.kinds import KINDS, NAMESPACE, POD, Kind

from .paths import HEARTBEAT, Target, allowed_methods, verb_of
from .review_kinds import REVIEWS
from .review_kinds import VERBS as REVIEW_VERBS

Document = dict[str, Any]

AGGREGATED_TYPE = "application/json;g=apidiscovery.k8s.io;v={};as=APIGroupDiscoveryList"
STATUS_VERBS = ["get", "patch", "update"]


def verbs_of(kind: Kind) -> list[str]:
    """Return the verbs that clients may use on a kind."""
    if kind in REVIEWS:
        return list(REVIEW_VERBS)
    namespace = "n" if kind.namespaced else ""
    targets = (Target(kind, namespace), Target(kind, namespace, "name"))
    verbs = {verb_of(target, method, False) for target in targets for method in allowed_methods(target)}
    return sorted(verbs | {"watch"})


def groups() -> list[tuple[str, str]]:
    """Return (group, version) of all kinds, reviews too, the core group ("") first."""
    return sorted({(kind.group, kind.version) for kind in (*KINDS, *REVIEWS)})


def kinds_of(group: str, version: str) -> list[Kind]:
    """Return a group's kinds by resource name."""
    kinds = (kind for kind in (*KINDS, *REVIEWS) if (kind.group, kind.version) == (group, version))
    return sorted(kinds, key=lambda kind: kind.plural)


def version_document(version: str) -> Document:
    """/version: the Kubernetes version whose schema we serve, and our own version as build metadata."""
    kubernetes = openapi.document()["info"]["version"].removeprefix("v")
    major, minor, *_ = kubernetes.split(".")
    return {
        "major": major,
        "minor": minor,
        "gitVersion": f"v{kubernetes}+svcdns-{version}",
        "gitCommit": "",
        "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "",
        "compiler": platform.python_implementation().lower(),
        "platform": f"linux/{platform.machine()}",
    }


def api_versions(address: str) -> Document:
    """/api in the legacy form; `address` is the host and port that the client used."""
    return {
        "kind": "APIVersions",
        "versions": ["v1"],
        "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": address}],
    }


def group_document(group: str, version: str) -> Document:
    """Return one group, as /apis/GROUP answers and /apis lists it."""
    entry = {"groupVersion": f"{group}/{version}", "version": version}
    return {"name": group, "versions": [entry], "preferredVersion": entry}


def api_group(group: str, version: str) -> Document:
    """/apis/GROUP."""
    return {"kind": "APIGroup", "apiVersion": "v1", **group_document(group, version)}


def api_group_list() -> Document:
    """/apis in the legacy form."""
    named = [group_document(group, version) for group, version in groups() if group]
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": named}


def resource_list(group: str, version: str) -> Document:
    """/api/v1 and /apis/GROUP/VERSION: the group's resources."""
    resources = [entry for kind in kinds_of(group, version) for entry in _legacy(kind)]
    group_version = f"{group}/{version}" if group else version
    return {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": group_version,
        "resources": resources,
    }


def _other_names(kind: Kind) -> Document:
    """Return what else kubectl may call a kind; an empty list is left out."""
    names = {"shortNames": list(kind.short_names), "categories": list(kind.categories)}
    return {field: words for field, words in names.items() if words}


def subresources(kind: Kind) -> Iterator[tuple[str, dict[str, str], list[str]]]:
    """Yield (name, group, version and kind of what is sent there, verbs) of each subresource of a kind."""
    own = {"group": kind.group, "version": kind.version, "kind": kind.name}
    if kind.has_status:
        yield "status", own, STATUS_VERBS
    if kind is NAMESPACE:
        yield "finalize", own, ["update"]
    if kind is POD:
        yield "eviction", {"group": "policy", "version": "v1", "kind": "Eviction"}, ["create"]
        yield HEARTBEAT, own, ["update"]


def _legacy(kind: Kind) -> Iterable[Document]:
    entry: Document = {
        "name": kind.plural,
        "singularName": kind.singular,
        "namespaced": kind.namespaced,
        "kind": kind.name,
        "verbs": verbs_of(kind),
    }
    entry |= _other_names(kind)
    yield entry
    for name, answered, verbs in subresources(kind):
        yield {
            "name": f"{kind.plural}/{name}",
            "singularName": "",
            "namespaced": kind.namespaced,
            **(answered if answered["group"] != kind.group else {"kind": answered["kind"]}),
            "verbs": verbs,
        }


def aggregated(version: str, *, core: bool) -> Document:
    """/api (`core`) and /apis in the aggregated form of apidiscovery.k8s.io `version` (v2, v2beta1)."""
    items = [_group_item(group, v) for group, v in groups() if (not group) == core]
    api_version = f"apidiscovery.k8s.io/{version}"
    return {"kind": "APIGroupDiscoveryList", "apiVersion": api_version, "metadata": {}, "items": items}


def _group_item(group: str, version: str) -> Document:
    resources = [_aggregated(kind) for kind in kinds_of(group, version)]
    return {
        "metadata": {"name": group} if group else {},
        "versions": [{"version": version, "resources": resources, "freshness": "Current"}],
    }


def _aggregated(kind: Kind) -> Document:
    response_kind = {"group": kind.group, "version": kind.version, "kind": kind.name}
    entry: Document = {
        "resource": kind.plural,
        "responseKind": response_kind,
        "scope": "Namespaced" if kind.namespaced else "Cluster",
        "singularResource": kind.singular,
        "verbs": verbs_of(kind),
    }
    entry |= _other_names(kind)
    below = [
        {"subresource": name, "responseKind": answered, "verbs": verbs}
        for name, answered, verbs in subresources(kind)
    ]
    return {**entry, "subresources": below} if below else entry
