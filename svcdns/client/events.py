"""Events that a client writes about objects, so that `kubectl describe` and `kubectl events` show them.

The same thing said twice is one Event, whose time is set anew: its name follows from what it says.
https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/event-v1/
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable
from typing import NamedTuple

from svcdns.objects.kinds import EVENT

from . import calls
from .exchange import ApiError, Call, Object, Request, answer

_CONFLICT = 409


class About(NamedTuple):
    """The object of an Event, which need not be there."""

    api_version: str
    kind: str
    namespace: str
    name: str
    uid: str = ""


def event(about: About, kind: str, reason: str, message: str, component: str, host: str) -> Object:
    """Return an Event; `kind` is Normal or Warning, `component` and `host` say who reports."""
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    name = _name(about.name, (about.uid, host, reason, message))
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"namespace": about.namespace, "name": name},
        "involvedObject": {
            "apiVersion": about.api_version,
            "kind": about.kind,
            "namespace": about.namespace,
            "name": about.name,
            **({"uid": about.uid} if about.uid else {}),
        },
        "type": kind,
        "reason": reason,
        "message": message,
        "source": {"component": component, "host": host},
        "firstTimestamp": now,
        "lastTimestamp": now,
        "count": 1,
    }


def write(made: Object) -> Call[None]:
    """Create an Event, or set the time of one that is there.  Raises ApiError."""
    metadata = made["metadata"]
    try:
        yield from answer(Request("POST", calls.path(EVENT, metadata["namespace"]), made))
    except ApiError as refused:
        if refused.status != _CONFLICT:
            raise
        again = {"lastTimestamp": made["lastTimestamp"]}
        yield from calls.merge(EVENT, metadata["namespace"], metadata["name"], again)


def _name(name: str, parts: Iterable[str]) -> str:
    digest = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]
    return f"{name}.{digest}"
