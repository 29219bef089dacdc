"""Messages of Events: what svcdns does and decides, in words that `kubectl describe` shows.

An event message says one thing that happened to one object.  The write path collects messages; the registry
counts equal ones and writes Events (see registry/events.py).  Reasons are single words, for selectors; texts
are for people and say what is and why.  They never hold what differs each time (a time, a number that grows),
so that what happens again is counted instead of written again.
https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/event-v1/
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from svcdns.objects.service_addresses import cluster_ips, ingress_addresses, is_headless
from svcdns.objects.syntax import domain_errors, parse_address

from .endpoints import WHEN_NONE_READY, selects, target_number
from .readiness import addresses, is_finished, is_shown_ready, is_terminating
from .readiness_texts import why_text

NORMAL, WARNING = "Normal", "Warning"

_MOST_NAMED = 10
"""Pods that one message names."""

Object = Mapping[str, Any]


class Subject(NamedTuple):
    """The object that a message is about; `namespace` and `uid` may be empty."""

    kind: str
    api_version: str
    namespace: str
    name: str
    uid: str


class EventMessage(NamedTuple):
    """One thing that happened; equal messages are one Event that is counted."""

    subject: Subject
    type: str
    """NORMAL or WARNING."""
    reason: str
    text: str
    of_refusal: bool = False
    """It happened although the write was refused, and because of it."""
    if_lasting: bool = False
    """It is to become an Event only if it is still so after a while (see registry/hints.py)."""


def subject_of(obj: Object) -> Subject:
    """Return a stored object as the subject of messages."""
    metadata = obj["metadata"]
    return Subject(
        obj["kind"],
        obj["apiVersion"],
        metadata.get("namespace", ""),
        metadata["name"],
        metadata.get("uid", ""),
    )


def left_out(subject: Subject, why: str) -> EventMessage:
    """Return the message that an object in etcd is none that svcdns can take."""
    text = f"What stands in etcd counts as not there: {why}"
    return EventMessage(subject, WARNING, "LeftOut", text)


def zone_file(name: str) -> Subject:
    """Return a zone file as the subject of messages; files are the server's: namespace kube-system."""
    return Subject("ZoneFile", "", "kube-system", name, "")


# Addresses and names of a Service


def service_messages(old: Object | None, new: Object) -> Iterator[EventMessage]:
    """Yield what a Service was given, and what it waits for; `old` is it as before, None for a new one."""
    before, after = (old or {}).get("spec") or {}, new["spec"]
    subject = subject_of(new)
    yield from _cluster_ip_messages(subject, before, after)
    had = set(_node_ports(before))
    ports = [number for number in _node_ports(after) if number not in had]
    if ports:
        yield EventMessage(subject, NORMAL, "NodePortAllocated", f"{_counted('Node port', ports)} allocated")
    yield from _balancer_messages(subject, old, new)
    target = after.get("externalName", "") if after.get("type") == "ExternalName" else ""
    if target and target != before.get("externalName"):
        yield from _external_name_messages(subject, target)


def _external_name_messages(subject: Subject, target: str) -> Iterator[EventMessage]:
    if parse_address(target.removesuffix(".")):
        text = (
            f"spec.externalName {target} is an address, and a CNAME can't point at one: the name has no "
            "records; use a headless Service with an EndpointSlice"
        )
        yield EventMessage(subject, WARNING, "ExternalNameIsAddress", text)
    elif domain_errors(target):
        text = f"spec.externalName {target} has a label over 63 octets, which DNS can't carry: no records"
        yield EventMessage(subject, WARNING, "NameTooLong", text)


def _cluster_ip_messages(subject: Subject, before: Object, after: Object) -> Iterator[EventMessage]:
    had, has = cluster_ips(before), cluster_ips(after)
    if had == has:
        return
    if given := [ip for ip in has if ip not in had]:
        yield EventMessage(
            subject, NORMAL, "ClusterIPAllocated", f"{_counted('Cluster IP', given)} allocated"
        )
    if taken := [ip for ip in had if ip not in has]:
        now = "headless" if is_headless(after) else str(after.get("type"))
        text = f"{_counted('Cluster IP', taken)} given back: the Service is {now} now"
        yield EventMessage(subject, NORMAL, "ClusterIPReleased", text)


def _balancer_messages(subject: Subject, old: Object | None, new: Object) -> Iterator[EventMessage]:
    if new["spec"].get("type") != "LoadBalancer":
        return
    had, has = ingress_addresses(old or {}), ingress_addresses(new)
    if given := [ip for ip in has if ip not in had]:
        text = f"Load balancer address {given[0]} allocated"
        yield EventMessage(subject, NORMAL, "LoadBalancerAllocated", text)
    was_waiting = ((old or {}).get("spec") or {}).get("type") == "LoadBalancer" and not had
    if not has and not was_waiting:
        family = new["spec"]["ipFamilies"][0]
        text = f"The load balancer address is pending: services.load_balancer_ranges has no {family} range"
        yield EventMessage(subject, WARNING, "LoadBalancerPending", text)


def range_full(service: Object, text: str) -> EventMessage:
    """A Service was refused because there is nothing left to give; `text` is the client's error."""
    return EventMessage(subject_of(service), WARNING, "RangeFull", text, of_refusal=True)


def name_too_long(service: Object, name: str) -> EventMessage:
    """One of a Service's names is longer than DNS allows."""
    text = f"{name} is too long for DNS (255 octets, 63 a label): it has no records"
    return EventMessage(subject_of(service), WARNING, "NameTooLong", text)


def not_served(service: Object) -> EventMessage:
    """A Service was created in a namespace that the configuration hides from DNS."""
    text = "Its namespace is not served (dns.namespaces, dns.namespace_labels): the Service has no records"
    return EventMessage(subject_of(service), WARNING, "NotServed", text)


# Aliases of a Service

FIRST_OF_THEM = "the oldest (of one second, the first by namespace and name)"
"""Which of the Services that ask for one alias has it."""


def alias_remark(service: Object, text: str) -> EventMessage:
    """Something in the annotations of a Service that speak of aliases is not taken as it is written."""
    return EventMessage(subject_of(service), WARNING, "AliasNotTaken", text[0].upper() + text[1:])


def alias_taken(service: Object, alias: str, holder: str) -> EventMessage:
    """An alias that a Service asks for is another's, `holder` as namespace/name."""
    text = f"Alias {alias} is answered by Service {holder}, {FIRST_OF_THEM} of those that ask for it"
    return EventMessage(subject_of(service), WARNING, "AliasTaken", text)


def alias_given(service: Object, alias: str, before: str) -> EventMessage:
    """A Service has an alias by now that another one, `before`, has had."""
    text = f"Alias {alias} is answered by this Service now: Service {before} asks for it no more"
    return EventMessage(subject_of(service), NORMAL, "AliasGiven", text)


def _node_ports(spec: Object) -> list[int]:
    numbers = [port.get("nodePort") for port in spec.get("ports") or []] + [spec.get("healthCheckNodePort")]
    return [number for number in dict.fromkeys(numbers) if number]


def _counted(what: str, values: list[str] | list[int]) -> str:
    return f"{what}{'s' if len(values) > 1 else ''} {', '.join(map(str, values))}"


# Endpoints


def endpoint_messages(
    service: Object, pod_name: str, pod: Object | None, before: Object | None, after: Object | None
) -> Iterator[EventMessage]:
    """Yield that a Pod's endpoint in a Service came, went, became ready or not; two messages, one for each.

    `before` and `after` are the endpoint as it stands in a slice (of one family), None where there is
    none; `pod` is None when it has been deleted.
    """
    if _state(before) == _state(after):
        return
    shown = after or before
    assert shown is not None
    address, name = shown["addresses"][0], service["metadata"]["name"]
    if after is None:
        why = "the Pod has been deleted" if pod is None else _why_no_endpoint(service, pod)
        reason, kind, state = "EndpointRemoved", NORMAL, "an endpoint no more"
    else:
        assert pod is not None
        why = _why(pod, after["conditions"])
        if after["conditions"]["ready"]:
            reason, kind, state = "EndpointReady", NORMAL, "ready"
        elif is_terminating(pod):
            reason, kind, state = "EndpointTerminating", NORMAL, "not ready"
        else:
            reason, kind, state = "EndpointNotReady", WARNING, "not ready"
    yield EventMessage(subject_of(service), kind, reason, f"Pod {pod_name} ({address}) is {state}: {why}")
    if pod is not None:
        yield EventMessage(
            subject_of(pod), kind, reason, f"Address {address} in Service {name} is {state}: {why}"
        )


def _state(endpoint: Object | None) -> tuple[Any, ...]:
    return () if endpoint is None else (endpoint["addresses"], endpoint["conditions"]["ready"])


def _why_no_endpoint(service: Object, pod: Object) -> str:
    if is_finished(pod):
        return f"its phase is {pod['status']['phase']}"
    if not selects(service, pod):
        return "the Service's selector does not take it in"
    return "it has no address of this family" if addresses(pod) else "it has no address"


def _why(pod: Object, conditions: Object) -> str:
    """Return what a Pod's readiness in a Service goes by (the order is that of `readiness`)."""
    if conditions["ready"] and not conditions["serving"]:
        return "the Service publishes addresses that are not ready"
    return why_text(pod)


def readiness_messages(old: Object, new: Object, told: Iterable[EventMessage]) -> Iterator[EventMessage]:
    """Yield that a Pod became ready or not, unless a message of an endpoint, `told` already, says so."""
    before, after = (is_shown_ready(pod) for pod in (old, new))
    if before == after or any(message.reason in _OF_ENDPOINTS for message in told):
        return
    kind = NORMAL if after or is_terminating(new) else WARNING
    reason, state = ("PodReady", "ready") if after else ("PodNotReady", "not ready")
    yield EventMessage(subject_of(new), kind, reason, f"The Pod is {state}: {why_text(new)}")


_OF_ENDPOINTS = frozenset({"EndpointReady", "EndpointNotReady", "EndpointTerminating"})


def heartbeat_messages(pod: Object, in_time: bool, period: str) -> Iterator[EventMessage]:
    """Yield that a Pod's heartbeats stopped or came again; `period` is what it promises, as it says it."""
    if in_time:
        yield EventMessage(subject_of(pod), NORMAL, "HeartbeatResumed", "A heartbeat has come again")
    else:
        text = f"No heartbeat for {period}: the Pod is not ready until the next one"
        yield EventMessage(subject_of(pod), WARNING, "HeartbeatLate", text)


def pod_expired(pod: Object, after: str) -> EventMessage:
    """A Pod was deleted because nothing was heard of it for too long."""
    return EventMessage(subject_of(pod), WARNING, "HeartbeatExpired", f"Deleted: no heartbeat for {after}")


def none_is_ready(service: Object) -> EventMessage:
    """The last ready endpoint of a Service is gone, and its names answer with those that are not ready."""
    text = f"No endpoint is ready: its names answer with all of them ({WHEN_NONE_READY})"
    return EventMessage(subject_of(service), WARNING, "NoEndpointReady", text)


def last_are_kept(service: Object, pods: list[str]) -> EventMessage:
    """The last ready endpoints of a Service are not ready any more, and go on to be answered."""
    names = ", ".join(pods[:_MOST_NAMED]) + (", ..." if len(pods) > _MOST_NAMED else "")
    text = f"No endpoint is ready: Pod {names}, ready last, is answered on ({WHEN_NONE_READY})"
    return EventMessage(subject_of(service), WARNING, "NoEndpointReady", text)


def missing_port_messages(service: Object, pod: Object) -> Iterator[EventMessage]:
    """Yield each port of a Service whose named targetPort a Pod does not have."""
    name = pod["metadata"]["name"]
    for port in service["spec"].get("ports") or []:
        if target_number(port, pod) is not None:
            continue
        protocol = port.get("protocol") or "TCP"
        which = port.get("name") or port["port"]
        text = (
            f"Port {which}: Pod {name} has no container port {port['targetPort']!r} ({protocol}): "
            "the port is left out there"
        )
        yield EventMessage(subject_of(service), WARNING, "TargetPortNotFound", text)
        yield EventMessage(subject_of(pod), WARNING, "TargetPortNotFound", text)


def addresses_not_mirrored(endpoints: Object, skipped: int, most: int) -> EventMessage:
    """Endpoints have more addresses than are mirrored into EndpointSlices."""
    text = (
        f"A max of {most} addresses can be mirrored to EndpointSlices per Endpoints subset. "
        f"{skipped} addresses were skipped"
    )
    return EventMessage(subject_of(endpoints), WARNING, "TooManyAddressesToMirror", text)


def endpoints_wait(endpoints: Object) -> EventMessage:
    """The Service of stored Endpoints has a selector now, so its Pods are its endpoints."""
    text = "The Service has a selector: its Pods are its endpoints until the selector is taken away"
    return EventMessage(subject_of(endpoints), WARNING, "EndpointsNotUsed", text)


# What is still missing


def no_pod_matches(service: Object, text: str) -> EventMessage:
    """A Service's selector takes in no Pod."""
    return EventMessage(subject_of(service), WARNING, "NoPodMatches", text, if_lasting=True)


def no_endpoints(service: Object, text: str) -> EventMessage:
    """A Service has neither a selector, nor an EndpointSlice or Endpoints."""
    return EventMessage(subject_of(service), WARNING, "NoEndpoints", text, if_lasting=True)


def no_address(pod: Object, text: str) -> EventMessage:
    """A Pod has no address."""
    return EventMessage(subject_of(pod), WARNING, "NoAddress", text, if_lasting=True)


def no_service(endpoint_slice: Object, text: str) -> EventMessage:
    """An EndpointSlice names no Service."""
    return EventMessage(subject_of(endpoint_slice), WARNING, "NoService", text, if_lasting=True)


# Namespaces, zone files and manifests


def namespace_emptying(namespace: Object) -> EventMessage:
    """A namespace holds so much that it is emptied in steps."""
    text = "The namespace is being emptied in steps; nothing can be created in it any more"
    return EventMessage(subject_of(namespace), NORMAL, "NamespaceEmptying", text)


def zone_file_refused(name: str, error: str) -> EventMessage:
    """A zone file can't be served as it is; `error` says where and why, and what is served instead."""
    return EventMessage(zone_file(name), WARNING, "ZoneFileRefused", error)


def zone_file_loaded(name: str, origin: str, serial: int) -> EventMessage:
    """A zone file's zone is served."""
    return EventMessage(
        zone_file(name), NORMAL, "ZoneFileLoaded", f"Zone {origin} is served, serial {serial}"
    )


def zone_file_gone(name: str, origin: str) -> EventMessage:
    """A zone file has gone, and its zone with it."""
    return EventMessage(
        zone_file(name), NORMAL, "ZoneFileGone", f"The file is gone: zone {origin} is not served"
    )


def manifests_not_taken(text: str, *, is_mistake: bool) -> EventMessage:
    """Something in the files of manifests is not registered; `text` says what, why and what to do."""
    subject = Subject("Manifests", "", "kube-system", "manifests", "")
    return EventMessage(subject, WARNING if is_mistake else NORMAL, "ManifestsNotTaken", text)
