"""The audit log: one line a write, done or refused, at level INFO of the logger `svcdns.audit`.

    {"time":"2026-01-31T12:00:00.123Z","user":"ci","verb":"create","resource":"services","namespace":"shop",
     "name":"web","code":201,"client":"192.0.2.7"}

Where a file is named, the lines go there and nowhere else.

No bodies and no headers: neither objects nor tokens end up in a log.  `code` 499: the client left before
the answer; what it asked for may have been done.  A login at the console is a `create`
of a `session`.  Reviews write nothing and leave no line, nor do a heartbeat
that counted and a node that renews its Lease: there are too many of them.
"""

from __future__ import annotations

import logging
import time
from pathlib import Path

import msgspec
from aiohttp import web

from svcdns.api import cache_route, console_paths, paths
from svcdns.objects.kinds import LEASE
from svcdns.system.timestamps import with_milliseconds

from .access_control import USER
from .authorization import NODE_LEASES

log = logging.getLogger("svcdns.audit")

_LONGEST = 300
"""Characters of a name that a line repeats; no object has a longer one."""


def write_to(file: Path) -> None:
    """Have lines go to a file from now on.  Raises OSError where it can't be opened."""
    from .audit_file import AuditFile

    for former in log.handlers:
        former.close()
    log.handlers[:] = [AuditFile(file)]
    log.setLevel(logging.INFO)
    log.propagate = False


def _is_sign_of_life(target: paths.Target, verb: str, code: int) -> bool:
    """Return whether it is a heartbeat, or a node's Lease that was renewed."""
    if target.subresource == paths.HEARTBEAT:
        return code == 204
    is_node = target.namespace == NODE_LEASES and target.resource == LEASE.plural
    return is_node and verb in ("update", "patch") and code == 200


class _Metadata(msgspec.Struct):
    name: str = ""


class _Created(msgspec.Struct):
    metadata: _Metadata


_decode = msgspec.json.Decoder(_Created).decode


def record(
    request: web.Request, target: paths.Target | None, verb: str, code: int, answer: web.StreamResponse | None
) -> None:
    """Write the line of a request that was answered; those that write nothing leave none."""
    path = request.rel_url.raw_path.rstrip("/")
    if request.method in paths.READ or not log.isEnabledFor(logging.INFO):
        return
    is_session = console_paths.is_session(path)
    if target is None and not cache_route.is_at(path) and not is_session:
        return
    if target is not None and _is_sign_of_life(target, verb, code):
        return
    if is_session:
        resource, namespace, name = "session", "", ""
        verb = "create" if request.method == "POST" else "delete"
    elif target is None:
        resource, namespace, name = "cache", "", path.removeprefix(cache_route.PATH).removeprefix("/")
    else:
        resource, namespace, name = target.resource, target.namespace, target.name
    user = request.get(USER)
    entry = {
        "time": with_milliseconds(time.time_ns() // 1_000_000),
        "user": user.username if user else "",
        "verb": verb,
        "resource": resource,
        "namespace": namespace[:_LONGEST],
        "name": name[:_LONGEST] or _created_name(code, answer),
        "code": code,
        "client": request.remote or "",
    }
    if "dryRun" in request.query:
        entry["dryRun"] = True
    line = msgspec.json.encode(entry).decode()
    log.handle(log.makeRecord(log.name, logging.INFO, "", 0, line, (), None))


def _created_name(code: int, answer: web.StreamResponse | None) -> str:
    """Return the name that a created object has, which the path doesn't say; "" where nothing says it."""
    if code != 201 or not isinstance(answer, web.Response) or not isinstance(answer.body, bytes):
        return ""
    try:
        return _decode(answer.body).metadata.name[:_LONGEST]
    except msgspec.DecodeError:
        return ""
