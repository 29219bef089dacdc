"""Asking the server what it is, why a name answers what it answers, and where else something of a name is."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_address, ip_network
from typing import Any
from urllib.parse import urlencode

from svcdns.objects.kinds import IPADDRESS, NAMESPACE, SERVICECIDR, Kind

from . import calls
from .connection import Connection, NoServer
from .exchange import ApiError, Call, Request, answer

PATH = "/svcdns/v1/explain"
_VERSION = "/version"
_OURS = "+svcdns-"
"""In the version that a svcdns says of itself, behind that of Kubernetes."""


def explain(
    name: str,
    namespace: str,
    *,
    type: str = "A",
    client: str = "",
    search: bool = False,
    forward: bool = False,
) -> Call[dict[str, Any]]:
    """Return the explanation of a domain name or a Pod's name, and the reply that a client gets.

    `type` is that of the question, `client` the address that asks ("": this one); `search` walks the search
    list of a Pod, `forward` has upstreams asked.  docs/api.md has the fields.
    """
    more = {"type": type, "client": client, "search": search and "1", "forward": forward and "1"}
    asked = {key: value for key, value in more.items() if value}
    query = urlencode({"name": name, "namespace": namespace, **asked})
    request = Request("GET", f"{PATH}?{query}")
    found: dict[str, Any] = yield from answer(request, "name", "answers", "objects", "reasons")
    return found


def check_server(connection: Connection) -> Call[None]:
    """Check that a server is svcdns and no cluster of Kubernetes, where nothing is to be written.

    Raises NoServer.
    """
    try:
        found = yield from answer(Request("GET", _VERSION))
    except ApiError:
        return  # what it says to the next request is the better message
    version = str(found.get("gitVersion"))
    if _OURS not in version:
        what = f"is Kubernetes {version[:40]}, not svcdns"
        raise NoServer(
            f"{connection.found}: {connection.url} {what}; unset {connection.found}, or say --api URL"
        )


def elsewhere(kind: Kind, name: str, namespace: str) -> Call[list[str]]:
    """Return the other namespaces that have an object of this name, [] where that may not be known."""
    try:
        found = yield from calls.list_objects(kind, fields=f"metadata.name={name}")
    except ApiError:
        return []
    return [where for one in found if (where := one["metadata"]["namespace"]) != namespace]


def anywhere(kind: Kind, labels: str = "") -> Call[str]:
    """Return a namespace that has objects of a kind, "" where there is none or it may not be known."""
    path = calls.path(kind, labelSelector=labels, limit="1")
    try:
        found = yield from answer(Request("GET", path), "items")
    except ApiError:
        return ""
    return str(found["items"][0]["metadata"]["namespace"]) if found["items"] else ""


def has_namespace(name: str) -> Call[bool]:
    """Return whether a namespace is there; True where that may not be known."""
    try:
        return (yield from calls.get(NAMESPACE, "", name)) is not None
    except ApiError:
        return True


def holder(address: str) -> Call[str]:
    """Return the Service whose cluster IP an address is, as NAMESPACE/NAME; "" for none, or who may not know.

    Only what lies in a range of cluster IPs is asked for.
    """
    try:
        ranges = yield from calls.list_objects(SERVICECIDR)
        if not any(_is_in(address, text) for one in ranges for text in one["spec"]["cidrs"]):
            return ""
        found = yield from calls.get(IPADDRESS, "", address)
    except ApiError:
        return ""
    parent: Mapping[str, Any] = ((found or {}).get("spec") or {}).get("parentRef") or {}
    return f"{parent['namespace']}/{parent['name']}" if parent.get("resource") == "services" else ""


def _is_in(address: str, network: str) -> bool:
    return ip_address(address) in ip_network(network)
