"""The one kind of failure that a client sees: a Kubernetes Status object.

https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/status/
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

_ALWAYS_WITH_DETAILS = ("NotFound", "MethodNotAllowed")
"""Clients such as `kubectl debug` look into the details of these without asking whether there are any."""


@dataclass(frozen=True, slots=True)
class Cause:
    """One thing that is wrong: `field` is a path such as spec.ports[0].port, `reason` Kubernetes' word."""

    reason: str
    message: str
    field: str = ""

    def as_json(self) -> dict[str, str]:
        """Return the cause as it stands in Status.details.causes."""
        out = {"reason": self.reason, "message": self.message}
        return {**out, "field": self.field} if self.field else out


class StatusError(Exception):
    """A refused request: HTTP code, Kubernetes' reason, a message for people, and its causes."""

    def __init__(
        self,
        code: int,
        reason: str,
        message: str,
        *,
        kind: str = "",
        name: str = "",
        group: str = "",
        causes: Iterable[Cause] = (),
        retry_after: int = 0,
        warnings: Iterable[str] = (),
    ) -> None:
        """`kind` is the plural resource name except in Invalid, where Kubernetes gives the kind itself.

        `warnings` go beside the answer, for what helps and is not Kubernetes' own message.
        """
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.kind = kind
        self.name = name
        self.group = group
        self.causes = tuple(causes)
        self.retry_after = retry_after
        self.warnings = tuple(warnings)

    def noting(self, notes: Iterable[str]) -> StatusError:
        """Return this error with what else was noticed about the body, where that is to blame (422)."""
        if self.code == 422 and (also := ", ".join(notes)):
            self.message = f"{self.message}; and {also}"
        return self

    def as_json(self) -> dict[str, Any]:
        """Return the Status object."""
        details: dict[str, Any] = {}
        for word in ("name", "group", "kind"):
            if value := getattr(self, word):
                details[word] = value
        if self.causes:
            details["causes"] = [cause.as_json() for cause in self.causes]
        if self.retry_after:
            details["retryAfterSeconds"] = self.retry_after
        out: dict[str, Any] = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
        }
        if details or self.reason in _ALWAYS_WITH_DETAILS:
            out["details"] = details
        out["code"] = self.code
        return out


def not_found(plural: str, name: str, group: str = "") -> StatusError:
    """404: no object of that name."""
    full = f"{plural}.{group}" if group else plural
    return StatusError(404, "NotFound", f'{full} "{name}" not found', kind=plural, name=name, group=group)


def no_namespace(name: str, *, hints: bool) -> StatusError:
    """404: a namespace in which something was to be made; with `hints`, how to make it, in header and body.

    kubectl prints the header and no causes, and curl the body.
    """
    error = not_found("namespaces", name)
    if hints:
        text = (
            f"namespace {name} is not there: `kubectl create namespace {name}` makes it, "
            f"as does `svcdns add -n {name}`"
        )
        error.warnings = (text,)
        error.causes = (Cause("NamespaceNotFound", text, "metadata.namespace"),)
    return error


def invalid(kind: str, name: str, causes: Iterable[Cause], group: str = "") -> StatusError:
    """422: the object means something that is not allowed; every cause in one answer."""
    listed = tuple(causes)
    texts = [f"{cause.field}: {cause.message}" if cause.field else cause.message for cause in listed]
    text = texts[0] if len(texts) == 1 else "[" + ", ".join(texts) + "]"
    full = f"{kind}.{group}" if group else kind
    return StatusError(
        422,
        "Invalid",
        f'{full} "{name}" is invalid: {text}',
        kind=kind,
        name=name,
        group=group,
        causes=listed,
    )


def bad_request(message: str) -> StatusError:
    """400: the request itself can't be understood."""
    return StatusError(400, "BadRequest", message)


def conflict(plural: str, name: str, message: str, group: str = "") -> StatusError:
    """409: the object has changed since the client read it, or a precondition failed."""
    full = f"{plural}.{group}" if group else plural
    text = f'Operation cannot be fulfilled on {full} "{name}": {message}'
    return StatusError(409, "Conflict", text, kind=plural, name=name, group=group)
