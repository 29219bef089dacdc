"""Which addresses a Service may ask for (clusterIP(s), IP families, externalIPs), and which may not change.

Only what can be said of the Service alone; ranges and what is taken belong to allocation.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from . import causes, syntax
from .causes import forbidden, invalid_value
from .errors import Cause

_FAMILIES = ("IPv4", "IPv6")
_FIELD = "spec.clusterIPs"


def cluster_ips(spec: Mapping[str, Any]) -> list[str]:
    """Return the cluster IPs that a Service has or asks for; none of a headless one."""
    return [ip for ip in spec.get("clusterIPs") or [] if ip and ip != "None"]


def ingress_addresses(service: Mapping[str, Any]) -> list[str]:
    """Return the addresses of a Service's load balancer."""
    balancer = (service.get("status") or {}).get("loadBalancer") or {}
    return [entry["ip"] for entry in balancer.get("ingress") or [] if entry.get("ip")]


def is_headless(spec: Mapping[str, Any]) -> bool:
    """Whether the spec asks for no address: clusterIP (or the first of clusterIPs) is "None"."""
    addresses = spec.get("clusterIPs") or [spec.get("clusterIP", "")]
    return bool(addresses[0] == "None")


def family_of(text: str) -> str:
    """Return "IPv4", "IPv6", or "" for what is no address."""
    address = syntax.parse_address(text)
    return "" if address is None else f"IPv{address.version}"


def address_causes(spec: dict[str, Any]) -> Iterator[Cause]:
    """Yield what is wrong with the addresses that a Service's spec names."""
    for i, address in enumerate(spec.get("externalIPs", [])):
        for text in syntax.routable_errors(address):
            yield invalid_value(f"spec.externalIPs[{i}]", address, text)
    if spec.get("type") == "ExternalName":
        for word in ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"):
            if spec.get(word):
                yield forbidden(f"spec.{word}", "may not be set for ExternalName services")
        return
    yield from _family_causes(spec)
    yield from _first_causes(spec)
    yield from _cluster_ip_causes(spec)


def _family_causes(spec: dict[str, Any]) -> Iterator[Cause]:
    seen = set()
    for i, family in enumerate(spec.get("ipFamilies", [])):
        if family in seen:
            yield causes.duplicate(f"spec.ipFamilies[{i}]", family)
        seen.add(family)


def _first_causes(spec: dict[str, Any]) -> Iterator[Cause]:
    """ClusterIP and the first of clusterIPs are one thing with two names."""
    single, several = spec.get("clusterIP", ""), spec.get("clusterIPs", [])
    if single and several and several[0] != single:
        yield invalid_value(_FIELD, several, "first value must match `clusterIP`")


def _cluster_ip_causes(spec: dict[str, Any]) -> Iterator[Cause]:
    several = spec.get("clusterIPs") or ([spec["clusterIP"]] if spec.get("clusterIP") else [])
    if "None" in several:
        if len(several) > 1:
            yield invalid_value(_FIELD, several, "'None' must be the first and only value")
        return
    if len(several) > 2:
        yield invalid_value(_FIELD, several, "may only hold up to 2 values")
    sound = True
    for i, address in enumerate(several[:3]):
        for text in syntax.unicast_errors(address):
            sound = False
            hint = '; did you mean "None"?' if address.lower() == "none" else ""
            yield invalid_value(f"{_FIELD}[{i}]", address, text + hint)
    if not sound:
        return
    if len(several) == 2 and family_of(several[0]) == family_of(several[1]):
        yield invalid_value(_FIELD, several, "may specify no more than one IP for each IP family")
    for i, (address, family) in enumerate(zip(several, spec.get("ipFamilies", []), strict=False)):
        if family in _FAMILIES and family != family_of(address):
            article = f"expected an {family} value as indicated by `ipFamilies[{i}]`"
            yield invalid_value(f"{_FIELD}[{i}]", address, article)


def update_address_causes(spec: dict[str, Any], old: dict[str, Any]) -> Iterator[Cause]:
    """Yield what an update may not change: addresses and families, once set.

    A second family may be added or, with ipFamilyPolicy SingleStack, be given up; a change of type to or from
    ExternalName is free. Absent addresses mean "as before" (carry_over() puts them in).
    """
    if "ExternalName" in (spec.get("type"), old.get("type")):
        return
    if not (is_headless(spec) and is_headless(old)):
        after, before = spec.get("clusterIPs", []), old.get("clusterIPs", [])
        yield from _unchanged(_FIELD, after, before, "clusterIP", spec.get("ipFamilyPolicy", ""))
    after, before = spec.get("ipFamilies", []), old.get("ipFamilies", [])
    yield from _unchanged("spec.ipFamilies", after, before, "ipFamily", spec.get("ipFamilyPolicy", ""))


def _unchanged(field: str, after: list[str], before: list[str], word: str, policy: str) -> Iterator[Cause]:
    for i, (new, old) in enumerate(zip(after, before, strict=False)):
        if new != old:
            yield invalid_value(f"{field}[{i}]", after, "may not change once set")
    if len(after) == 1 and len(before) == 2 and policy != "SingleStack":
        detail = f"`ipFamilyPolicy` must be set to 'SingleStack' when releasing the secondary {word}"
        yield invalid_value(f"{field}[0]", after, detail)
