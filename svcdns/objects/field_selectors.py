"""Field selectors: which objects a list or a watch is about, by a few of their fields.

https://kubernetes.io/docs/concepts/overview/working-with-objects/field-selectors/
The fields are those that Kubernetes supports for each kind; an absent field is the empty text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from .causes import shown
from .errors import StatusError, bad_request
from .kinds import EVENT, NAMESPACE, NEWER_EVENT, NODE, POD, SERVICE, Kind

_PART = re.compile(
    r"\s*(?P<field>[^=!,\\\s]*)\s*(?P<operator>==|!=|=)(?P<value>(?:[^\\,=]|\\[\\,=])*)(?:,|\Z)"
)
_EMPTY = re.compile(r"\s*(?:,|\Z)")
_ESCAPED = re.compile(r"\\([\\,=])")
_MOST_CHARACTERS = 64 * 1024

_Reader = Callable[[Mapping[str, Any]], str]


def _text_at(field: str, absent: str = "") -> _Reader:
    """Return a reader of one field as text: true is "true"."""
    path = field.split(".")

    def read(obj: Mapping[str, Any]) -> str:
        value: Any = obj
        for word in path:
            value = value.get(word) if isinstance(value, Mapping) else None
        if isinstance(value, bool):
            return str(value).lower()
        return value if isinstance(value, str) else absent

    return read


def _readers(*fields: str) -> dict[str, _Reader]:
    return {field: _text_at(field) for field in ("metadata.name", "metadata.namespace", *fields)}


_COMMON = _readers()
_REFERENCE = ("apiVersion", "fieldPath", "kind", "name", "namespace", "resourceVersion", "uid")
_component, _reporting = _text_at("source.component"), _text_at("reportingComponent")
_OF_KIND = {
    NODE: {**_readers(), "spec.unschedulable": _text_at("spec.unschedulable", "false")},
    NAMESPACE: _readers("status.phase"),
    SERVICE: _readers("spec.clusterIP", "spec.type"),
    POD: {
        **_readers(
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "status.nominatedNodeName",
            "status.phase",
            "status.podIP",
        ),
        "spec.hostNetwork": _text_at("spec.hostNetwork", "false"),
    },
    EVENT: {
        **_readers(
            *(f"involvedObject.{word}" for word in _REFERENCE),
            "reason",
            "reportingComponent",
            "type",
        ),
        "source": lambda event: _component(event) or _reporting(event),
    },
    NEWER_EVENT: {
        **_readers("reason", "type"),
        **{f"regarding.{word}": _text_at(f"involvedObject.{word}") for word in _REFERENCE},
        "reportingController": _reporting,
    },
}
"""How each field is read, of an object as it is stored."""


SELECTABLE = frozenset(field for readers in _OF_KIND.values() for field in readers)
"""Every field that some kind can be selected by."""


@dataclass(frozen=True, slots=True)
class FieldRequirement:
    """One condition on one field; `operator` is = or !=."""

    field: str
    operator: str
    value: str

    def __str__(self) -> str:
        """Return the condition as it stands in a selector."""
        escaped = re.sub(r"([\\,=])", r"\\\1", self.value)
        return f"{self.field}{self.operator}{escaped}"


@dataclass(frozen=True, slots=True)
class FieldSelector:
    """Conditions on fields of one kind that all must be met; without any, everything is selected."""

    requirements: tuple[FieldRequirement, ...]
    kind: Kind

    @classmethod
    def parse(cls, text: str, kind: Kind) -> FieldSelector:
        """Parse "metadata.name=x,status.phase!=Running". Raises StatusError 400 naming what is allowed.

        In a value, a backslash stands before each backslash, comma and equals sign.
        """
        if len(text) > _MOST_CHARACTERS:
            raise bad_request(f"unable to parse field selector: it has over {_MOST_CHARACTERS} characters")
        found = []
        at = 0
        while at < len(text):
            if (empty := _EMPTY.match(text, at)) is not None:
                at = empty.end()
                continue
            match = _PART.match(text, at)
            if match is None:
                wanted = "expected FIELD=VALUE or FIELD!=VALUE, with a backslash before \\ , and = in a value"
                raise _failed(text, at, wanted)
            found.append(_requirement(match, text, at, kind))
            at = match.end()
        return cls(tuple(found), kind)

    def matches(self, obj: Mapping[str, Any]) -> bool:
        """Whether the object (as the selector's kind is stored) is selected."""
        readers = _OF_KIND.get(self.kind, _COMMON)
        return all(
            (readers[each.field](obj) == each.value) == (each.operator == "=") for each in self.requirements
        )

    def exact(self, field: str) -> str | None:
        """Return the value that a field must have, so that a look-up can stand for a scan; or None."""
        for each in self.requirements:
            if each.field == field and each.operator == "=":
                return each.value
        return None

    def __str__(self) -> str:
        """Return the selector as text."""
        return ",".join(map(str, self.requirements))


def _requirement(match: re.Match[str], text: str, at: int, kind: Kind) -> FieldRequirement:
    field, operator, value = match["field"], match["operator"], match["value"]
    allowed = _OF_KIND.get(kind, _COMMON)
    if field not in allowed:
        names = ", ".join(sorted(allowed))
        message = f"field label not supported: {shown(field)}; {kind.plural} can be selected by {names}"
        raise _failed(text, at, message)
    return FieldRequirement(field, operator.replace("==", "="), _ESCAPED.sub(r"\1", value))


def _failed(text: str, at: int, message: str) -> StatusError:
    return bad_request(f"unable to parse field selector {shown(text)}: at character {at + 1}: {message}")
