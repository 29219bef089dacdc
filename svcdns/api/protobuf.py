"""Protobuf bodies: from the octets that Go clients send to the JSON that they mean.

A body is the magic `k8s`, NUL and a runtime.Unknown, which names the kind and holds the object's own
message.  The table of messages is package data (tools/extract_protobuf.py takes it from Kubernetes' sources).

Go writes every field that is no pointer, zero or not; in JSON it leaves most zeros out.  So do we, by the
table: an object is the same whether it came as JSON or as protobuf.  Two differences to Go's JSON, which mean
the same: an empty message of an optional field (`status: {}`) and an IntOrString of 0 are left out too.
https://kubernetes.io/docs/reference/using-api/api-concepts/#protobuf-encoding
"""

from __future__ import annotations

import functools
import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec

from svcdns.objects.errors import bad_request

from . import protobuf_wire as wire
from .protobuf_wire import OCTETS, VARINT, Malformed, Message, Object, Put, Read

CONTENT_TYPE = "application/vnd.kubernetes.protobuf"
MAGIC = b"k8s\0"

_EPOCH = datetime(1970, 1, 1)
_Field = tuple[tuple[int, ...], Put]
"""The wire types that a field may have, and where its value goes."""


def decode(octets: bytes) -> Object:
    """Return the object in a body.  Raises StatusError 400, saying which field is wrong and why."""
    if not octets.startswith(MAGIC):
        raise bad_request(f"the body is not of type {CONTENT_TYPE}: it does not begin with k8s and NUL")
    try:
        unknown = _UNKNOWN.read(octets[len(MAGIC) :])
        kind = _known_kind(unknown)
        return {**kind, **_messages()[_table()["kinds"][_key(kind)]].read(unknown.get("raw", b""))}
    except Malformed as error:
        raise bad_request(f"the body is not valid protobuf: {error}") from None


def _known_kind(unknown: Object) -> dict[str, str]:
    """Return apiVersion and kind.  Raises Malformed when we can't read such a message, StatusError 400."""
    encoding, content = unknown.get("contentEncoding", ""), unknown.get("contentType", "")
    if encoding:
        raise Malformed(f"contentEncoding {encoding!r:.80} is not understood: it must be empty")
    if content not in ("", CONTENT_TYPE):
        raise Malformed(f"contentType {content!r:.80} is not understood: it must be empty or {CONTENT_TYPE}")
    kind: dict[str, str] = unknown.get("typeMeta", {})
    if not kind.get("apiVersion") or not kind.get("kind"):
        raise Malformed("it does not name the apiVersion and kind of its object")
    if _key(kind) not in _table()["kinds"]:
        shown = f"{kind['kind']!r:.80} in {kind['apiVersion']!r:.80}"
        known = ", ".join(sorted(key.rpartition(" ")[2] for key in _table()["kinds"]))
        raise bad_request(f"an object of kind {shown} can't be read as protobuf here; known are: {known}")
    return kind


def _key(kind: dict[str, str]) -> str:
    """Return the key of a kind in the table; DeleteOptions are part of every group."""
    return f"{'v1' if kind['kind'] == 'DeleteOptions' else kind['apiVersion']} {kind['kind']}"


# The table, made into messages


@functools.cache
def _table() -> dict[str, Any]:
    folder = Path(__file__).parent / "data"
    path = next(entry for entry in folder.iterdir() if entry.name.startswith("protobuf-"))
    table: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return table


@functools.cache
def _messages() -> dict[str, Message]:
    """Return all messages by name: all at once, since bodies are read in several threads."""
    messages = {name: Message() for name in _table()["messages"]}
    for message, fields in _table()["messages"].items():
        for number, (name, type_, *words) in fields.items():
            word = words[0] if words else ""
            inner = messages.get(type_)
            wires, put = _of_value(name, type_, word) if inner is None else _of_message(name, inner, word)
            messages[message].add(int(number), name, wires, put)
    return messages


def _of_message(name: str, inner: Message, word: str) -> _Field:
    if word == "inline":
        return (OCTETS,), wire.inline(inner)
    if word == "repeated":
        return (OCTETS,), wire.several(name, inner.read)
    return (OCTETS,), wire.nested(name, inner, word == "kept")


def _of_value(name: str, type_: str, word: str) -> _Field:
    read = _SCALARS.get(type_) or _FORMS[type_]
    wires = (VARINT,) if type_ in _NUMBERS else (OCTETS,)
    if word == "map":
        return wires, wire.mapping(name, read)
    if word == "repeated" and type_ in _NUMBERS:
        return (VARINT, OCTETS), wire.numbers(name, read)
    if word == "repeated":
        return wires, wire.several(name, read)
    return wires, wire.single(name, read, word == "kept")


_NUMBERS = frozenset({"bool", "int32", "int64"})
_SCALARS: dict[str, Read] = {"bool": bool, "int32": wire.int32, "int64": wire.int64, "string": wire.text}


# Messages that are something else in JSON than an object of their fields


def _small(**fields: tuple[int, str]) -> Message:
    """Return a message that is not in the table: name -> (number, scalar type)."""
    message = Message()
    for name, (number, type_) in fields.items():
        read = bytes if type_ == "bytes" else _SCALARS[type_]
        wires = (VARINT,) if type_ in _NUMBERS else (OCTETS,)
        message.add(number, name, wires, wire.single(name, read, True))
    return message


_UNKNOWN = _small(raw=(2, "bytes"), contentEncoding=(3, "string"), contentType=(4, "string"))
_TYPE_META = _small(apiVersion=(1, "string"), kind=(2, "string"))
_UNKNOWN.add(1, "typeMeta", (OCTETS,), wire.nested("typeMeta", _TYPE_META, True))
_TIMESTAMP = _small(seconds=(1, "int64"), nanos=(2, "int32"))
_QUANTITY = _small(string=(1, "string"))
_INT_OR_STRING = _small(type=(1, "int64"), intVal=(2, "int32"), strVal=(3, "string"))
_FIELDS = _small(raw=(1, "bytes"))
_EXTRA_VALUE = Message()
_EXTRA_VALUE.add(1, "items", (OCTETS,), wire.several("items", wire.text))


def _moment(seconds: int, microseconds: int) -> datetime:
    try:
        return _EPOCH + timedelta(seconds=seconds, microseconds=microseconds)
    except OverflowError:
        raise Malformed(f"{seconds} s since 1970 is not in the years 1 to 9999") from None


def _time(octets: bytes) -> str | None:
    """Return whole seconds, as Kubernetes keeps them; the zero time has no octets and no place in JSON."""
    if not octets:
        return None
    return _moment(_TIMESTAMP.read(octets).get("seconds", 0), 0).isoformat() + "Z"


def _micro_time(octets: bytes) -> str | None:
    if not octets:
        return None
    given = _TIMESTAMP.read(octets)
    nanos = given.get("nanos", 0)
    if not 0 <= nanos < 1_000_000_000:
        raise Malformed(f"{nanos} ns is not a part of a second")
    return _moment(given.get("seconds", 0), nanos // 1000).isoformat(timespec="microseconds") + "Z"


def _quantity(octets: bytes) -> str:
    return str(_QUANTITY.read(octets).get("string", "0"))


def _int_or_string(octets: bytes) -> int | str:
    given = _INT_OR_STRING.read(octets)
    which = given.get("type", 0)
    if which not in (0, 1):
        raise Malformed(f"the type {which} is neither 0, a number, nor 1, a string")
    found: int | str = given.get("strVal", "") if which else given.get("intVal", 0)
    return found


def _fields(octets: bytes) -> Object | None:
    """Return the JSON object that stands in the octets of FieldsV1."""
    raw = _FIELDS.read(octets).get("raw", b"")
    try:
        return msgspec.json.decode(raw, type=dict[str, Any]) if raw else None
    except RecursionError:
        raise Malformed("it is nested too deeply") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Malformed(f"it is not a valid JSON object: {error}") from None


def _extra_value(octets: bytes) -> list[str]:
    return list(_EXTRA_VALUE.read(octets).get("items", []))


_FORMS: dict[str, Read] = {
    "k8s.io.api.authentication.v1.ExtraValue": _extra_value,
    "k8s.io.api.authorization.v1.ExtraValue": _extra_value,
    "k8s.io.apimachinery.pkg.api.resource.Quantity": _quantity,
    "k8s.io.apimachinery.pkg.apis.meta.v1.FieldsV1": _fields,
    "k8s.io.apimachinery.pkg.apis.meta.v1.MicroTime": _micro_time,
    "k8s.io.apimachinery.pkg.apis.meta.v1.Time": _time,
    "k8s.io.apimachinery.pkg.util.intstr.IntOrString": _int_or_string,
}
