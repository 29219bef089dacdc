"""Warnings: what is accepted and likely not what was meant, or not for long.

Kubernetes' own where our kinds have them (pkg/api/service/warnings.go, pkg/registry/discovery), and those for
what svcdns does not do. One about a field is given when the field comes or changes, not with every write.
What an object still lacks to be answered is said by `hints`.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

from svcdns.cluster.endpoints import WHEN_NONE_ALL, WHEN_NONE_READY, selector_of
from svcdns.cluster.readiness import readiness_probes
from svcdns.cluster.ready_last import WHEN_NONE_LAST
from svcdns.objects.causes import shown
from svcdns.objects.endpoints_rules import addresses_of
from svcdns.objects.kinds import ENDPOINTS, ENDPOINTSLICE, NAMESPACE, POD, SERVICE, Kind
from svcdns.objects.service_addresses import is_headless
from svcdns.objects.syntax import domain_errors, parse_address

Object = dict[str, Any]

_NAMES_WITHOUT_SHORT_FORM = frozenset({"svc", "pod", "dns", "dns-version"})
MOST_WARNINGS = 20
"""Warnings of one sort that an object gets at most."""


def warnings(kind: Kind, old: Object | None, new: Object) -> tuple[str, ...]:
    """Return the warnings about an object that was created, or changed from `old`."""
    if kind is NAMESPACE:
        return tuple(_of_namespace(old, new))
    if kind is POD:
        return tuple(_of_pod(old, new))
    if kind is SERVICE:
        of_spec = _of_service((old or {}).get("spec") or {}, new.get("spec") or {})
        return (*of_spec, *_of_when_none_ready(old, new))
    if kind is ENDPOINTS:
        return tuple(islice(_of_endpoints(old or {}, new), MOST_WARNINGS))
    if kind is ENDPOINTSLICE and old is None:
        deprecated = new.get("addressType") == "FQDN"
        return ("addressType: FQDN endpoints are deprecated",) if deprecated else ()
    return ()


def _of_namespace(old: Object | None, new: Object) -> Iterator[str]:
    name = new["metadata"]["name"]
    if old is None and name in _NAMES_WITHOUT_SHORT_FORM:
        yield f"namespace {name}: its Services have no short name X.{name} below the cluster domain"


def _of_pod(old: Object | None, new: Object) -> Iterator[str]:
    probes = readiness_probes(new)
    if not probes or (old is not None and probes == readiness_probes(old)):
        return
    if any("exec" in probe for probe in probes):
        yield "readinessProbe.exec is not run here: the Pod is ready when the Ready condition says so"


def _of_endpoints(old: Object, new: Object) -> Iterator[str]:
    before = {text for _, text in addresses_of(old)}
    for field, text in addresses_of(new):
        if text not in before and str(address := parse_address(text)) != text:
            form = f'should be in RFC 5952 canonical format ("{address}")'
            yield f'{field}: IPv6 address "{text}" {form}'


def _of_when_none_ready(old: Object | None, new: Object) -> Iterator[str]:
    before, after = ((one or {}).get("metadata", {}).get("annotations") or {} for one in (old, new))
    word = after.get(WHEN_NONE_READY)
    place = f"metadata.annotations[{WHEN_NONE_READY}]"
    is_known = word in (None, "none", WHEN_NONE_ALL, WHEN_NONE_LAST)
    if not is_known and word != before.get(WHEN_NONE_READY):
        yield f"{place}: {shown(word)} counts as none; known: none, all, last"
    if word == WHEN_NONE_LAST and selector_of(new) is None:
        was_said = old is not None and before.get(WHEN_NONE_READY) == word and selector_of(old) is None
        if not was_said:
            yield f"{place}: last counts as none without a selector: only Pods are remembered"


def _of_service(old: Object, new: Object) -> Iterator[str]:
    def comes(*fields: str) -> bool:
        return any(new.get(field) != old.get(field) for field in fields)

    if new.get("type") == "ExternalName":
        text = new.get("externalName", "").removesuffix(".")
        if text.replace(".", "").isdigit() or ":" in text:
            way_out = "use a headless Service with a slice"
            yield f"spec.externalName is an address: it resolves to nothing; {way_out}"
        elif domain_errors(text) and comes("externalName", "type"):
            yield "spec.externalName has a label over 63 octets (no DNS name has): it resolves to nothing"
    elif new.get("externalName") and comes("externalName", "type"):
        yield 'spec.externalName is ignored when spec.type is not "ExternalName"'
    if is_headless(new) and new.get("sessionAffinity") == "ClientIP" and comes("sessionAffinity"):
        yield "spec.SessionAffinity is ignored for headless services"
    if new.get("externalIPs") and comes("externalIPs"):
        ignored = 'is ignored when spec.clusterIP is "None"'
        yield f"spec.externalIPs {ignored if is_headless(new) else 'is deprecated'}"
    if new.get("trafficDistribution") == "PreferClose" and comes("trafficDistribution"):
        yield "spec.trafficDistribution: PreferClose is deprecated; use PreferSameZone"
