"""Request bodies: from octets and a Content-Type to decoded JSON.

A body has at most 3 MiB (413).  A missing Content-Type means JSON.  What can't be decoded is 400 with
the position; a type that is not in `DECODERS` or `PATCH_TYPES` is 415 with the list of what is.
A new format of bodies is one more entry in `DECODERS`.

What leaves here can be encoded as JSON again: string keys, integers of 64 bits, finite numbers, and
at most `DEEPEST` levels, so that whoever walks a body may do it recursively.
"""

from __future__ import annotations

import asyncio
import json
import math
import re
from collections.abc import Callable
from typing import Any

import msgspec
from aiohttp import ClientError, http_exceptions, web

from svcdns.objects.errors import StatusError, bad_request
from svcdns.registry.requests import Patch
from svcdns.system import bounded_yaml

from . import protobuf

MAX_BODY = 3 * 1024 * 1024
"""Octets of the largest body."""
DEEPEST = 200
"""Levels of nesting of the deepest body."""
MOST_PATCH_OPERATIONS = 10_000
"""Operations in one JSON patch, as in Kubernetes."""
_THREAD_FROM = 64 * 1024
"""Octets from which YAML and protobuf, which are slow to read, are read outside the event loop."""

_LONG_NUMBER = re.compile(rb"\d{19}")
_INT64 = range(-(2**63), 2**63)


def decode_json(octets: bytes) -> Any:
    """Return the value of a JSON text; of duplicate keys the last wins.  Raises StatusError 400."""
    try:
        value = msgspec.json.decode(octets)
    except RecursionError:
        raise _too_deep() from None
    except msgspec.DecodeError as error:
        where = "" if "byte" in str(error) else f" (byte {len(octets)})"
        raise bad_request(f"the body is not valid JSON: {error}{where}") from None
    except UnicodeDecodeError as error:
        raise bad_request(f"the body is not valid JSON: {error.reason} in a string, not UTF-8") from None
    if octets.count(b"[") + octets.count(b"{") > DEEPEST or _LONG_NUMBER.search(octets):
        check_value(value)
    return value


def decode_yaml(octets: bytes) -> Any:
    """Return the value of a YAML text of one document.  Raises StatusError 400."""
    try:
        text = octets.decode(json.detect_encoding(octets))
        found = [*bounded_yaml.documents(text, bounded_yaml.Rules(DEEPEST))]
    except bounded_yaml.TooDeep:
        raise _too_deep() from None
    except bounded_yaml.Refused as bad:
        place = f", at line {bad.line}, column {bad.column}" if bad.line else ""
        raise bad_request(f"the body is not valid YAML: {bad}{place}") from None
    except UnicodeDecodeError as bad:
        raise bad_request(f"the body is not valid YAML: {bad}") from None
    if len(found) > 1:
        raise bad_request("the body is not valid YAML: it has more than one document")
    value = found[0] if found else None
    check_value(value)
    return value


def decode_protobuf(octets: bytes) -> Any:
    """Return the object of a protobuf message.  Raises StatusError 400."""
    value = protobuf.decode(octets)
    if b"{" in octets:  # metadata.managedFields[].fieldsV1 is JSON: all else is only as deep as its schema
        check_value(value)
    return value


def _too_deep() -> StatusError:
    return bad_request(f"the body is nested too deeply: at most {DEEPEST} levels are allowed")


def check_value(value: Any, path: str = "", depth: int = 0) -> None:
    """Raise StatusError 400 when a decoded body holds what JSON objects of ours can't hold."""
    if depth > DEEPEST:
        raise _too_deep()
    if isinstance(value, dict):
        for key, inner in value.items():
            check_value(inner, f"{path}.{key}" if path else str(key), depth + 1)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            check_value(inner, f"{path}[{index}]", depth + 1)
    elif isinstance(value, int) and value not in _INT64:
        raise bad_request(f"{path[:200] or 'the body'}: the number does not fit into 64 bits")
    elif isinstance(value, float) and not math.isfinite(value):
        raise bad_request(f"{path[:200] or 'the body'}: {value} is no JSON number")


DECODERS: dict[str, Callable[[bytes], Any]] = {
    "application/json": decode_json,
    "application/yaml": decode_yaml,
    protobuf.CONTENT_TYPE: decode_protobuf,
}
_SLOW = (decode_yaml, decode_protobuf)
PATCH_TYPES = {
    "application/json-patch+json": "json",
    "application/merge-patch+json": "merge",
    "application/strategic-merge-patch+json": "strategic",
    "application/apply-patch+yaml": "apply",
}


def _content_type(request: web.Request) -> str:
    header = request.headers.get("Content-Type", "")
    return header.partition(";")[0].strip().lower() or "application/json"


def _unsupported(given: str, allowed: list[str]) -> StatusError:
    text = f"Content-Type {given!r} is not understood here; accepted are: {', '.join(allowed)}"
    return StatusError(415, "UnsupportedMediaType", text)


def too_large() -> StatusError:
    """413: the body is over `MAX_BODY`."""
    text = f"the body is too large: at most {MAX_BODY} octets are allowed"
    return StatusError(413, "RequestEntityTooLarge", text)


class Unfinished:
    """The requests whose bodies are on their way: a stop of the server waits for none of them."""

    def __init__(self) -> None:
        """There are none."""
        self._stopping = False
        self._deadlines: set[asyncio.Timeout] = set()

    def end(self) -> None:
        """End them all, and those that come later, unless all of the body is there already."""
        self._stopping = True
        for deadline in self._deadlines:
            deadline.reschedule(asyncio.get_running_loop().time())

    async def read(self, request: web.Request) -> bytes:
        """Return the body's octets.  Raises StatusError 503 for one that a stop has ended."""
        deadline = asyncio.timeout(0 if self._stopping else None)
        try:
            async with deadline:
                self._deadlines.add(deadline)
                return await request.read()
        except TimeoutError:
            text = "the server is stopping, and the request was not complete; nothing was changed"
            raise StatusError(503, "ServiceUnavailable", text) from None
        finally:
            self._deadlines.discard(deadline)


UNFINISHED = web.AppKey("unfinished", Unfinished)


async def read(request: web.Request) -> bytes:
    """Return the body's octets.

    Raises StatusError 413, 400 when its Content-Encoding is broken, 503 when the server stops before all of
    it is there.
    """
    if (request.content_length or 0) > MAX_BODY:
        raise too_large()
    try:
        octets = await request.app[UNFINISHED].read(request)
    except web.HTTPRequestEntityTooLarge:
        raise too_large() from None
    except (ClientError, http_exceptions.HttpProcessingError, web.RequestPayloadError):
        raise bad_request(
            "the body could not be read: it is cut off, or not of its Content-Encoding"
        ) from None
    if len(octets) > MAX_BODY:
        raise too_large()
    return octets


async def read_object(request: web.Request) -> dict[str, Any]:
    """Return the object in the body.  Raises StatusError 400, 413 or 415."""
    content_type = _content_type(request)
    decode = DECODERS.get(content_type)
    if decode is None:
        raise _unsupported(content_type, list(DECODERS))
    octets = await read(request)
    if not octets.strip():
        raise bad_request("the request has no body: an object is expected")
    if decode in _SLOW and len(octets) >= _THREAD_FROM:
        value = await asyncio.to_thread(decode, octets)
    else:
        value = decode(octets)
    if not isinstance(value, dict):
        raise bad_request(f"the body is {_kind_of(value)}: an object is expected")
    return value


async def read_optional_object(request: web.Request) -> dict[str, Any] | None:
    """Return the object in the body (DeleteOptions), None without a body."""
    octets = await read(request)
    return await read_object(request) if octets.strip() else None


async def read_patch(request: web.Request) -> Patch:
    """Return the patch in the body.  Raises StatusError 400, 413 or 415."""
    content_type = _content_type(request)
    if content_type not in PATCH_TYPES:
        raise _unsupported(content_type, list(PATCH_TYPES))
    octets = await read(request)
    if not octets.strip():
        raise bad_request("the request has no body: a patch is expected")
    kind = PATCH_TYPES[content_type]
    document = await _decode_configuration(octets) if kind == "apply" else decode_json(octets)
    if kind == "json":
        _check_json_patch(document)
    elif not isinstance(document, dict):
        raise bad_request(f"the patch is {_kind_of(document)}: an object is expected")
    return Patch(kind, document)


async def _decode_configuration(octets: bytes) -> Any:
    """Return the value of a YAML text; most clients send JSON, which is also YAML but quicker as JSON."""
    if octets.lstrip()[:1] == b"{":
        try:
            return decode_json(octets)
        except StatusError:
            pass  # YAML has braces too
    if len(octets) >= _THREAD_FROM:
        return await asyncio.to_thread(decode_yaml, octets)
    return decode_yaml(octets)


def _check_json_patch(document: Any) -> None:
    if not isinstance(document, list):
        raise bad_request(f"the JSON patch is {_kind_of(document)}: a list of operations is expected")
    if len(document) > MOST_PATCH_OPERATIONS:
        text = f"a JSON patch may have {MOST_PATCH_OPERATIONS} operations, this one has {len(document)}"
        raise StatusError(413, "RequestEntityTooLarge", text)
    for index, operation in enumerate(document):
        if not isinstance(operation, dict):
            raise bad_request(f"operation {index} of the JSON patch is {_kind_of(operation)}, not an object")


def _kind_of(value: Any) -> str:
    words = {type(None): "null", bool: "a boolean", str: "a string", list: "a list", dict: "an object"}
    return words.get(type(value), "a number")
