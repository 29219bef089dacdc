"""IP families of a Service: which it gets, given what it asks for and which ranges there are.

https://kubernetes.io/docs/concepts/services-networking/dual-stack/
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from svcdns.objects.errors import Cause
from svcdns.objects.service_addresses import cluster_ips, family_of, is_headless

SINGLE, REQUIRE = "SingleStack", "RequireDualStack"
V4, V6 = "IPv4", "IPv6"


def has_cluster_ip(spec: Mapping[str, Any]) -> bool:
    """Return whether a Service of this spec has (or is to be given) a cluster IP."""
    return spec.get("type") != "ExternalName" and not is_headless(spec)


def choose_families(spec: Mapping[str, Any], configured: Sequence[str]) -> tuple[str, list[str], list[Cause]]:
    """Return (ipFamilyPolicy, ipFamilies, causes) for a Service that is not an ExternalName.

    `configured` are the families of the cluster IP ranges, the primary one first.
    """
    requested = cluster_ips(spec)
    families = list(spec.get("ipFamilies") or [])
    named = len(families)
    for ip in requested[len(families) :]:
        families.append(family_of(ip))
    policy = spec.get("ipFamilyPolicy")
    if is_headless(spec) and not spec.get("selector"):
        # Its endpoints are the user's own, of any family, whatever our ranges are.
        policy = policy or (SINGLE if len(families) == 1 else REQUIRE)
        causes, possible = [], [V4, V6]
    else:
        policy = policy or SINGLE
        causes, possible = _unsupported(policy, families, requested, named, configured), list(configured)
        if policy == SINGLE:
            causes += _too_many_for_one(len(requested), named)
    families = families or [configured[0]]
    if policy == SINGLE:
        del families[1:]
    elif len(families) == 1:
        families += [family for family in possible if family != families[0]]
    return policy, families, causes


def _too_many_for_one(addresses: int, families: int) -> list[Cause]:
    """A Service has two families only if its policy says so."""
    text = f'Invalid value: "{SINGLE}": must be RequireDualStack or PreferDualStack when multiple '
    counts = (("'clusterIPs'", addresses), ("'ipFamilies'", families))
    return [
        Cause("FieldValueInvalid", f"{text}{word} are specified", "spec.ipFamilyPolicy")
        for word, count in counts
        if count > 1
    ]


def _unsupported(
    policy: str, families: Sequence[str], requested: Sequence[str], named: int, configured: Sequence[str]
) -> list[Cause]:
    """Return what is asked for and has no range; of the families, the first `named` were named as such."""
    allowed = f"allowed: {', '.join(configured)}, the families of services.cluster_ip_ranges"
    causes = []
    for index, family in enumerate(families):
        if family not in configured:
            path = f"spec.ipFamilies[{index}]" if index < named else f"spec.clusterIPs[{index}]"
            value = family if index < named else requested[index]
            text = f'Invalid value: "{value}": no range of the family {family} is configured; {allowed}'
            causes.append(Cause("FieldValueInvalid", text, path))
    if policy == REQUIRE and len(configured) < 2:
        text = f'Invalid value: "{policy}": this cluster is not configured for dual-stack services'
        causes.append(Cause("FieldValueInvalid", text, "spec.ipFamilyPolicy"))
    return causes
