"""What an Event means: something that happened to an object, as a component reports it.

As in Kubernetes, events of core/v1 are taken with few questions; those with an eventTime (the newer form)
must say who reports.  One rule is ours: an Event is small, so that the history of events is bounded in
octets too, and not only in number.
https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/event-v1/
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from . import syntax
from .causes import invalid_value, required, too_long
from .errors import Cause

MOST_OCTETS = 16 * 1024
"""The whole Event, as JSON."""
MOST_WORD = 128
"""Octets of reason, action and reportingInstance of the newer form."""
MOST_MESSAGE = 1024
"""Octets of a message of the newer form; ours keep to it too."""
CLUSTER_SCOPED = "default"
"""Namespace of the events about objects that are in none."""
_OF_CLUSTER_SCOPED = (CLUSTER_SCOPED, "kube-system")
"""Where the newer form may stand as well."""


def event_causes(event: dict[str, Any]) -> Iterator[Cause]:
    """Yield what is wrong with an Event."""
    yield from _namespace_causes(event)
    if event.get("eventTime"):
        yield from newer_form_causes(event, "reportingComponent", "message")
    if len(msgspec.json.encode(event)) > MOST_OCTETS:
        yield too_long("", MOST_OCTETS)


def _namespace_causes(event: dict[str, Any]) -> Iterator[Cause]:
    """An Event stands in the namespace of its object; about a cluster-scoped one, in `default`.

    One of the newer form about an object that is in a namespace may stand in any.
    """
    where = event.get("metadata", {}).get("namespace", "")
    involved = (event.get("involvedObject") or {}).get("namespace", "")
    if event.get("eventTime"):
        if not involved and where not in _OF_CLUSTER_SCOPED:
            yield invalid_value("involvedObject.namespace", involved, "does not match event.namespace")
    elif where not in (involved, "" if involved else CLUSTER_SCOPED):
        yield invalid_value("involvedObject.namespace", involved, "does not match event.namespace")


def newer_form_causes(event: dict[str, Any], reporter: str, note: str) -> Iterator[Cause]:
    """Yield what an Event with an eventTime lacks; `reporter` and `note` are the names of these fields."""
    controller = event.get(reporter, "")
    if not controller:
        yield required(reporter)
    else:
        for text in syntax.key_errors(controller):
            yield invalid_value(reporter, controller, text)
    for word in ("reportingInstance", "action", "reason"):
        value = event.get(word, "")
        if not value:
            yield required(word)
        elif len(value.encode()) > MOST_WORD:
            yield too_long(word, MOST_WORD)
    if len(event.get(note, "").encode()) > MOST_MESSAGE:
        yield too_long(note, MOST_MESSAGE)
