"""Answers: stored JSON, Tables, Status objects; and the headers that go with them.  Lists are in `lists`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import msgspec
from aiohttp import web

from svcdns.objects.errors import StatusError
from svcdns.objects.kinds import Kind

from . import parameters, partial_metadata, tables
from .negotiation import JSON, metadata_version, table_version

encode = msgspec.json.encode
Clock = Callable[[], float]
"""Wall clock in seconds since 1970."""

_Answer = TypeVar("_Answer", bound=web.StreamResponse)
_MOST_WARNINGS = 4096
"""Octets of warnings in one answer; clients refuse answers with very long headers."""
_READERS = ("curl/", "Wget/", "Mozilla/")
"""User agents behind which a person reads the answer, as Kubernetes sees it."""


def is_pretty(request: web.Request) -> bool:
    """Return whether the answer is indented: as `pretty` says, else for those who read it themselves."""
    try:
        asked = parameters.boolean(request.query, "pretty")
    except StatusError:
        asked = None
    return request.headers.get("User-Agent", "").startswith(_READERS) if asked is None else asked


def json_answer(
    request: web.Request, octets: bytes, *, status: int = 200, warnings: Iterable[str] = ()
) -> web.Response:
    """Return an answer with a JSON body, indented for those who want it so."""
    if is_pretty(request):
        octets = msgspec.json.format(octets, indent=2) + b"\n"
    return with_warnings(octets_answer(octets, status=status), warnings)


def octets_answer(octets: bytes, *, status: int = 200) -> web.Response:
    """Return an answer with a JSON body as it is given."""
    headers = {"Content-Type": JSON, "Cache-Control": "no-cache, private"}
    return web.Response(body=octets, status=status, headers=headers)


def with_warnings(answer: _Answer, warnings: Iterable[str]) -> _Answer:
    """Return an answer that has not begun with Warning headers."""
    for value in warning_headers(warnings):
        answer.headers.add("Warning", value)
    return answer


def warning_headers(texts: Iterable[str]) -> list[str]:
    """Return the values of the Warning headers (RFC 7234, section 5.5), which kubectl prints."""
    values: list[str] = []
    room = _MOST_WARNINGS
    for text in texts:
        printable = text
        if not text.isprintable():
            printable = "".join(letter if letter.isprintable() else " " for letter in text)
        quoted = printable.replace("\\", "\\\\").replace('"', '\\"')
        room -= len(quoted.encode(errors="replace"))
        if room < 0:
            break
        values.append(f'299 - "{quoted}"')
    return values


def object_answer(
    request: web.Request,
    kind: Kind,
    octets: bytes,
    clock: Clock = time.time,
    *,
    status: int = 200,
    warnings: Iterable[str] = (),
) -> web.Response:
    """Return an answer with one object, as a Table or its metadata alone when the client asks for that."""
    accept = request.headers.get("Accept", "")
    if version := metadata_version(accept):
        octets = partial_metadata.of_object(octets, version)
    elif version := table_version(accept):
        octets = tables.of_object(kind, octets, clock(), version, included(request))
    return json_answer(request, octets, status=status, warnings=warnings)


def included(request: web.Request) -> str:
    """Return what stands beside the cells of a Table: Metadata, Object or None."""
    return request.query.get("includeObject", "") or "Metadata"


def status_answer(request: web.Request, error: StatusError) -> web.Response:
    """Return a refusal as a Status object."""
    answer = json_answer(request, encode(error.as_json()), status=error.code, warnings=error.warnings)
    if error.retry_after:
        answer.headers["Retry-After"] = str(error.retry_after)
    return answer


def deleted_status(kind: Kind, last: dict[str, Any]) -> bytes:
    """Return the Status of a deletion; `last` is the object's last state."""
    metadata = last.get("metadata") or {}
    details = {"name": metadata.get("name", "")}
    if kind.group:
        details["group"] = kind.group
    details |= {"kind": kind.plural, "uid": metadata.get("uid", "")}
    return encode(
        {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}
    )


SUCCESS = encode({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201})
"""What an eviction is answered with."""


def no_such_path(meant: str = "") -> StatusError:
    """404: the path means nothing here; `meant` is one that does, if it can be guessed."""
    hint = f"; did you mean {meant}?" if meant else ""
    return StatusError(404, "NotFound", f"the server could not find the requested resource{hint}")


def method_not_allowed(instead: str = "") -> StatusError:
    """405: the path is right, the method isn't; `instead` says what would be."""
    text = "the server does not allow this method on the requested resource"
    return StatusError(405, "MethodNotAllowed", f"{text}; {instead}" if instead else text)
