"""What is in other people's files and not registered here: workloads, kinds of other programs, charts.

A Deployment has no Pods until somebody runs it.  svcdns runs nothing, so the line about it says what is to be
registered instead, and which labels a Service of the same files looks for.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any

from svcdns.config.readers import few
from svcdns.objects.kinds import ENDPOINTS, EVENT, KINDS, LEASE, STORED, Kind
from svcdns.objects.selectors import matches_map

from .documents import NO_OBJECT
from .not_taken import LeftOut, NotTaken, Place, described

Object = Mapping[str, Any]

_HAPPENS: dict[Kind, str] = {
    EVENT: "is what happened elsewhere",
    LEASE: "is held by whoever runs elsewhere",
}
"""Kinds that programs write while they run, and why a file can't say what they hold."""
TAKEN: tuple[Kind, ...] = tuple(kind for kind in STORED if kind not in _HAPPENS)
"""Kinds that a manifest may be of."""

_OF_OBJECTS = {"apiVersion", "metadata", "spec"}
"""Who writes one of these at the top means an object."""
_KUSTOMIZATIONS = ("kustomization.yaml", "kustomization.yml")
_TEMPLATES = (("spec", "template"), ("spec", "jobTemplate", "spec", "template"))
"""Where kinds that make Pods say what these are like: Deployments, Jobs and all other; CronJobs."""
_SELECTOR = ("spec", "selector")


class Selectors:
    """Services by what they select: thousands of them beside thousands of workloads take little time."""

    def __init__(self, services: Iterable[Object]) -> None:
        """The Services have their namespace."""
        self._by_first_label: dict[tuple[str, str, str], list[Object]] = {}
        for service in services:
            for key, word in islice(_texts(service, _SELECTOR).items(), 1):
                place = (service["metadata"]["namespace"], key, word)
                self._by_first_label.setdefault(place, []).append(service)

    def of(self, namespace: str, labels: Mapping[str, str]) -> list[Object]:
        """Return the Services that select Pods with these labels."""
        near = (self._by_first_label.get((namespace, *item), []) for item in labels.items())
        return [one for one in chain.from_iterable(near) if matches_map(_texts(one, _SELECTOR), labels)]


@dataclass(frozen=True, slots=True)
class Workload:
    """An object that makes Pods where it is run."""

    place: Place
    object: Object
    namespace: str
    labels: Mapping[str, str]
    """Those of its Pods."""

    def left_out(self, services: Selectors) -> LeftOut:
        """Return why it is not taken; the Services are those of the same files."""
        found = services.of(self.namespace, self.labels)
        labels = {key: word for one in found for key, word in _texts(one, _SELECTOR).items()} or self.labels
        remedy = "".join(self._remedy(labels, [one["metadata"]["name"] for one in found]))
        return LeftOut(self.place, "is not run here", described(dict(self.object)), remedy)

    def _remedy(self, labels: Mapping[str, str], services: list[str]) -> Iterator[str]:
        yield "register each of its Pods with its address (status.podIP)"
        if labels:
            yield f" and the labels {','.join(f'{key}={word}' for key, word in labels.items())}"
        if services:
            one = len(services) == 1
            yield f", by which Service{'' if one else 's'} {few(services)} select{'s' if one else ''} it"
        subdomain = _inside(self.object, ("spec",)).get("serviceName")
        if self.object["kind"] == "StatefulSet" and isinstance(subdomain, str):
            name = _inside(self.object, ("metadata",)).get("name")
            yield f"; spec.hostname: {name}-0 and spec.subdomain: {subdomain} name it as in a cluster"


def workload(place: Place, obj: Object) -> Workload | None:
    """Return an object of a kind that is not registered as a Workload, None for one that makes no Pods."""
    for path in _TEMPLATES:
        template = _inside(obj, path)
        if isinstance(template.get("spec"), dict):
            namespace = _inside(obj, ("metadata",)).get("namespace") or "default"
            return Workload(place, obj, str(namespace), _texts(template, ("metadata", "labels")))
    return None


def refusal(place: Place, obj: Object) -> NotTaken:
    """Return why an object of a kind that is not registered is not for svcdns, or what is wrong about it."""
    version, name = str(obj["apiVersion"]), str(obj["kind"])
    what = described(dict(obj))
    group = version.rpartition("/")[0]
    ours = next((one for one in KINDS if (one.name.lower(), one.group) == (name.lower(), group)), None)
    if ours is not None and ours.read_only:
        remedy = "write EndpointSlices with the label kubernetes.io/service-name" if ours is ENDPOINTS else ""
        return place.error("kind", "follows from other objects, and can't be registered", what, remedy)
    if ours is not None and ours.stored in _HAPPENS:
        return LeftOut(place, _HAPPENS[ours.stored], what)
    if ours is not None:
        right = f"write apiVersion: {ours.api_version}, kind: {ours.name}"
        return place.error("kind", f"{name} ({version}) is not known", what, right)
    if name == "Kustomization":
        return _kustomization(place)
    return LeftOut(place, f"{version} {name} is no kind that is registered here", what)


def no_object(place: Place, obj: Object) -> LeftOut | None:
    """Return why a mapping without a kind is not taken; None for what is meant as an object."""
    if "kind" in obj:
        return None
    if place.file.name in _KUSTOMIZATIONS:
        return _kustomization(place)
    if {"apiVersion", "name", "version"} <= obj.keys():
        remedy = "render it with `helm template` and name what comes out"
        return LeftOut(place, "is a Helm chart", remedy=remedy)
    return None if _OF_OBJECTS & obj.keys() else LeftOut(place, NO_OBJECT)


def _kustomization(place: Place) -> LeftOut:
    remedy = "render its folder with `kubectl kustomize` and name what comes out"
    return LeftOut(place, "is a kustomization", remedy=remedy)


def _texts(obj: Object, path: Iterable[str]) -> dict[str, str]:
    """Return those values of the mapping at a path that are texts."""
    return {str(key): word for key, word in _inside(obj, path).items() if isinstance(word, str)}


def _inside(obj: Object, path: Iterable[str]) -> Mapping[str, Any]:
    """Return the mapping at a path, an empty one where there is none."""
    found: Any = obj
    for key in path:
        found = found.get(key) if isinstance(found, Mapping) else None
    return found if isinstance(found, Mapping) else {}
