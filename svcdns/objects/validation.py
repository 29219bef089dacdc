"""Meaning: is what an object says allowed? All that is wrong is told at once.

structure() has been here before, and default(): types are right and defaulted fields are there. Whether an
address is in our ranges, or free, is a matter of allocation and not asked here.
"""

from __future__ import annotations

from typing import Any

from svcdns.objects import schema, syntax
from svcdns.objects.errors import Cause
from svcdns.objects.kinds import ENDPOINTSLICE, NAMESPACE, POD, SERVICE, Kind
from svcdns.objects.metadata_rules import NameRule, metadata_causes, update_causes
from svcdns.objects.pod_rules import pod_causes
from svcdns.objects.service_rules import service_causes
from svcdns.objects.slice_rules import slice_causes

MOST_CAUSES = 100
"""An answer tells at most so many causes, and that there are more."""

_NAME_RULES: dict[Kind, NameRule] = {
    NAMESPACE: syntax.label_errors,
    SERVICE: syntax.label_1035_errors,
    POD: syntax.subdomain_errors,
    ENDPOINTSLICE: syntax.subdomain_errors,
}


def validate(kind: Kind, new: dict[str, Any], old: dict[str, Any] | None = None) -> list[Cause]:
    """Return all that is wrong with a structured and defaulted object, [] if nothing is.

    `old` is the stored object on an update: some fields may not change then. An object that has generateName
    and no name yet passes. The causes are those of a 422, see errors.invalid().
    """
    found = schema.missing(kind, new)
    found += metadata_causes(kind, new, _NAME_RULES[kind])
    if old is not None:
        found += update_causes(new, old)
    if kind is SERVICE:
        found += service_causes(new, old)
    elif kind is POD:
        found += pod_causes(new)
    elif kind is ENDPOINTSLICE:
        found += slice_causes(new, old)
    return _told(found)


def _told(found: list[Cause]) -> list[Cause]:
    """Return each cause once, at most MOST_CAUSES of them and a last one that counts the rest."""
    unique = list(dict.fromkeys(found))
    if len(unique) <= MOST_CAUSES:
        return unique
    rest = Cause("FieldValueInvalid", f"and {len(unique) - MOST_CAUSES} more")
    return [*unique[:MOST_CAUSES], rest]
