"""Request bodies: from octets and a Content-Type to decoded JSON.

A body has at most 3 MiB (413), and is never inflated (415): one octet of a compressed body can stand for
a thousand.  A missing Content-Type means JSON.  What can't be decoded is 400 with
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
from aiohttp import http_exceptions, web
from aiohttp.client_exceptions import ClientError

from svcdns.objects.causes import type_word
from svcdns.objects.errors import StatusError, bad_request
from svcdns.objects.patches import check_document
from svcdns.registry.requests import Patch

from . import protobuf, repeated_keys
from .body_limits import FREE_OCTETS, KEY, BodyLimits

MAX_BODY = 3 * 1024 * 1024
"""Octets of the largest body."""
DEEPEST = 200
"""Levels of nesting of the deepest body."""
MOST_VALUES = 200_000
"""Values of one JSON body, as of one of YAML: what comes after has to walk them."""

_OCTETS = web.RequestKey("octets", bytes)
_HELD = web.RequestKey("held", int)
"""Where a request carries its body, and how many octets of it count as in flight."""
_LONG_NUMBER = re.compile(rb"\d{19}")
_INT64 = range(-(2**63), 2**63)


Repeated = list[str] | None
"""Where a decoder puts what is to be said of keys that stand twice (the last wins); None: nobody asks."""


def decode_json(octets: bytes, repeated: Repeated = None) -> Any:
    """Return the value of a JSON text.  Raises StatusError 400."""
    if octets.count(b",") > MOST_VALUES and repeated_keys.without_strings(octets).count(b",") > MOST_VALUES:
        raise bad_request(f"the body has more than {MOST_VALUES} values")
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
    if repeated is not None:
        repeated += repeated_keys.in_json(octets, value)
    return value


def decode_yaml(octets: bytes, repeated: Repeated = None) -> Any:
    """Return the value of a YAML text of one document.  Raises StatusError 400."""
    from svcdns.system import bounded_yaml  # here: most clients send JSON

    twice: list[bounded_yaml.Repeated] = []
    try:
        text = octets.decode(json.detect_encoding(octets))
        found = [*bounded_yaml.documents(text, bounded_yaml.Rules(DEEPEST), twice)]
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
    if repeated is not None:
        repeated += [f'line {one.line}: key "{one.key:.200}" already set in map' for one in twice]
    return value


def decode_protobuf(octets: bytes, repeated: Repeated = None) -> Any:
    """Return the object of a protobuf message, which has no keys.  Raises StatusError 400."""
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


Decoder = Callable[[bytes, Repeated], Any]
DECODERS: dict[str, Decoder] = {
    "application/json": decode_json,
    "application/yaml": decode_yaml,
    protobuf.CONTENT_TYPE: decode_protobuf,
}
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


def _too_large() -> StatusError:
    text = f"the body is too large: at most {MAX_BODY} octets are allowed"
    return StatusError(413, "RequestEntityTooLarge", text)


def check_head(request: web.Request) -> None:
    """Refuse what its head says is too large (413) or compressed (415), before anything of it is read."""
    codings = ",".join(request.headers.getall("Content-Encoding", [])).lower().split(",")
    if any(coding.strip() not in ("", "identity") for coding in codings):
        text = f"Content-Encoding {','.join(codings)!r:.80} is not understood here; accepted is: identity"
        raise StatusError(415, "UnsupportedMediaType", text)
    if (request.content_length or 0) > MAX_BODY:
        raise _too_large()


async def read(request: web.Request) -> bytes:
    """Return the body's octets, which count as in flight until `give_back`.

    Raises StatusError 408, 413, 415, 400 for a body that is cut off, 429 or 503 where there are too many, 503
    when the server stops before all of it is there.
    """
    if _OCTETS in request:
        return request[_OCTETS]
    check_head(request)
    limits = request.app[KEY]
    try:
        if request.content.is_eof():  # it came with its head, as most do: there is nothing to wait for
            request[_OCTETS] = octets = request.content.read_nowait()
            _check_and_count(request, len(octets))
            return octets
        request[_OCTETS] = await _parts(request, limits)
    except TimeoutError:
        text = f"the body did not arrive: {limits.silent_seconds:g} s without an octet, or too slowly"
        raise StatusError(408, "Timeout", text) from None
    except (ClientError, http_exceptions.HttpProcessingError, web.RequestPayloadError):
        raise bad_request("the body could not be read: it is cut off") from None
    return request[_OCTETS]


async def _parts(request: web.Request, limits: BodyLimits) -> bytes:
    """Return a body that is still coming."""
    parts: list[bytes] = []
    octets = 0
    async with limits.until_stopped(), asyncio.timeout(limits.whole_seconds):
        while part := await _part(request, limits):
            octets += len(part)
            _check_and_count(request, octets)
            parts.append(part)
    return b"".join(parts)


async def _part(request: web.Request, limits: BodyLimits) -> bytes:
    async with asyncio.timeout(limits.silent_seconds):
        return await request.content.readany()


def _check_and_count(request: web.Request, octets: int) -> None:
    """Refuse a body that is too large; count what has arrived of it, but for its first octets."""
    if octets > MAX_BODY:
        raise _too_large()
    held = request.get(_HELD, 0)
    more = octets - FREE_OCTETS - held
    if more > 0:
        request.app[KEY].take(request.remote or "", more)
        request[_HELD] = held + more


def give_back(request: web.Request) -> None:
    """The request has been answered: its body is no longer in flight."""
    if held := request.get(_HELD, 0):
        request.app[KEY].give_back(request.remote or "", held)
        request[_HELD] = 0


async def read_object(
    request: web.Request, field_validation: str = "Ignore"
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return the object in the body, and warnings.  Raises StatusError 400, 413 or 415."""
    content_type = _content_type(request)
    decode = DECODERS.get(content_type)
    if decode is None:
        raise _unsupported(content_type, list(DECODERS))
    octets = await read(request)
    if not octets.strip():
        raise bad_request("the request has no body: an object is expected")
    value, warnings = await _decoded(request, decode, octets, field_validation)
    if not isinstance(value, dict):
        raise bad_request(f"the body is {type_word(value)}: an object is expected")
    return value, warnings


async def read_optional_object(request: web.Request) -> dict[str, Any] | None:
    """Return the object in the body (DeleteOptions), None without a body."""
    octets = await read(request)
    return (await read_object(request))[0] if octets.strip() else None


async def read_patch(request: web.Request, field_validation: str = "Ignore") -> tuple[Patch, tuple[str, ...]]:
    """Return the patch in the body, and warnings.  Raises StatusError 400, 413 or 415."""
    content_type = _content_type(request)
    if content_type not in PATCH_TYPES:
        raise _unsupported(content_type, list(PATCH_TYPES))
    octets = await read(request)
    if not octets.strip():
        raise bad_request("the request has no body: a patch is expected")
    kind = PATCH_TYPES[content_type]
    decode = decode_configuration if kind == "apply" else decode_json
    document, warnings = await _decoded(request, decode, octets, field_validation)
    check_document(kind, document)
    return Patch(kind, document), warnings


def decode_configuration(octets: bytes, repeated: Repeated = None) -> Any:
    """Return the value of a YAML text; most clients send JSON, which is also YAML but quicker as JSON."""
    if octets.lstrip()[:1] == b"{":
        try:
            return decode_json(octets, repeated)
        except StatusError:
            pass  # YAML has braces too
    return decode_yaml(octets, repeated)


_THREAD_FROM: dict[Decoder, int] = {
    decode_yaml: 4 * 1024,
    decode_configuration: 4 * 1024,
    decode_protobuf: 16 * 1024,
    decode_json: 64 * 1024,
}
"""Octets from which a body is read outside the event loop: some milliseconds of work."""


async def _decoded(
    request: web.Request, decode: Decoder, octets: bytes, field_validation: str
) -> tuple[Any, tuple[str, ...]]:
    """Return the value of a body and the warnings about it; what takes long is read in a thread."""
    repeated: Repeated = None if field_validation == "Ignore" else []
    if len(octets) >= _THREAD_FROM[decode]:
        value = await request.app[KEY].run(decode, octets, repeated)
    else:
        value = decode(octets, repeated)
    return value, repeated_keys.warnings_of(repeated or [], field_validation)
