"""Meaning: is what an object says allowed? All that is wrong is said at once.

structure() has been here before, and default(): types are right and defaulted fields are there. Whether an
address is in our ranges, or free, is a matter of allocation and not asked here.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from . import schema, syntax
from .errors import Cause
from .event_rules import event_causes
from .field_rules import field_causes
from .kinds import ENDPOINTSLICE, EVENT, LEASE, NAMESPACE, NODE, POD, SERVICE, Kind
from .lease_rules import lease_causes
from .metadata_rules import NameRule, metadata_causes
from .node_rules import node_causes
from .pod_rules import pod_causes
from .service_rules import service_causes
from .slice_rules import slice_causes

MOST_CAUSES = 100
"""Most causes in an answer; one more says that there are others."""

_NAME_RULES: dict[Kind, NameRule] = {
    NAMESPACE: syntax.label_errors,
    SERVICE: syntax.label_errors,
    POD: syntax.subdomain_errors,
    ENDPOINTSLICE: syntax.subdomain_errors,
    EVENT: syntax.subdomain_errors,
    NODE: syntax.subdomain_errors,
    LEASE: syntax.subdomain_errors,
}


def validate(kind: Kind, new: dict[str, Any], old: dict[str, Any] | None = None) -> list[Cause]:
    """Return all that is wrong with a structured and defaulted object, [] if nothing is.

    `kind` is one that is stored; `old` is the stored object on an update: some fields may not change then.
    An object that has generateName and no name yet passes. The causes are those of a 422, see
    errors.invalid().
    """
    found: dict[Cause, None] = {}
    for cause in _causes(kind, new, old):
        found[cause] = None
        if len(found) > MOST_CAUSES:
            return [*list(found)[:MOST_CAUSES], Cause("FieldValueInvalid", "and more")]
    return list(found)


def _causes(kind: Kind, new: dict[str, Any], old: dict[str, Any] | None) -> Iterator[Cause]:
    yield from schema.missing(kind, new)
    yield from field_causes(kind, new)
    yield from metadata_causes(kind, new, _NAME_RULES[kind], old)
    if kind is SERVICE:
        yield from service_causes(new, old)
    elif kind is POD:
        yield from pod_causes(new, old)
    elif kind is ENDPOINTSLICE:
        yield from slice_causes(new, old)
    elif kind is EVENT:
        yield from event_causes(new)
    elif kind is NODE:
        yield from node_causes(new, old)
    elif kind is LEASE:
        yield from lease_causes(new)
