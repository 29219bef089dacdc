"""A record as a line of text: JSON, for people, or as CoreDNS' plugin log writes it; without its end.

    {"ts":"2026-01-31T12:00:00.123456Z","client_ip":"10.0.0.5","client_port":40312,"proto":"udp",
     "qname":"web.default.svc.","qtype":"A","rcode":"NOERROR","answers":1,"source":"own",
     "duration_seconds":0.000061,"request_bytes":49,"response_bytes":65}
    2026-01-31T12:00:00.123456Z 10.0.0.5:40312 udp A web.default.svc. NOERROR own answers=1 0.061ms 49/65
    [INFO] 10.0.0.5:40312 - 29008 "A IN web.default.svc. udp 49 false 1232" NOERROR qr,aa,rd 65 0.000061000s

Where a line stands for several questions it says so: `sample`; where its client is a Pod, which one (not
in the third form).  The names in JSON are those of CoreDNS' own structured log;
https://coredns.io/plugins/log/ has the third form.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import msgspec

from svcdns.system.client_networks import network_of
from svcdns.wire import header
from svcdns.wire.question import Malformed, parse

from .record import Record

_FLAGS = (
    ("qr", 0x8000),
    ("aa", 0x0400),
    ("tc", 0x0200),
    ("rd", 0x0100),
    ("ra", 0x0080),
    ("ad", 0x0020),
    ("cd", 0x0010),
)
_UDP_SIZE = 512
"""What a client takes that says nothing (RFC 1035 section 4.2.1)."""

_json = msgspec.json.Encoder().encode

Show = Callable[[Record], Record]
Line = Callable[[Record], str]


def showing(clients: str) -> Show:
    """Return what makes clients be shown in full ("full"), by their network ("net") or not at all
    ("none")."""
    if clients == "net":
        return lambda record: record._replace(client=network_of(record.client), port=0, namespace="", pod="")
    if clients == "none":
        return lambda record: record._replace(client="", port=0, namespace="", pod="")
    return lambda record: record


def fields(record: Record) -> dict[str, Any]:
    """Return what JSON says of a record: seconds, octets, and null for what is not known."""
    found: dict[str, Any] = {
        "ts": _time(record.time),
        "client_ip": record.client or None,
        "client_port": record.port or None,
        "proto": record.protocol,
        "qname": record.name or None,
        "qtype": record.rrtype or None,
        "rcode": record.rcode,
        "answers": record.answers,
        "source": record.source,
        "duration_seconds": record.duration / 1e9,
        "request_bytes": len(record.query),
        "response_bytes": len(record.reply),
    }
    if record.pod:
        found |= {"namespace": record.namespace, "pod": record.pod}
    if record.sample > 1:
        found["sample"] = record.sample
    return found


def json_line(record: Record) -> str:
    """Return a record as JSON."""
    return _json(fields(record)).decode()


def text_line(record: Record) -> str:
    """Return a record as a line for people."""
    asked = f"{_client(record)} {record.protocol} {record.rrtype or '-'} {record.name or '-'}"
    said = f"{record.rcode} {record.source} answers={record.answers} {record.duration / 1e6:.3f}ms"
    pod = f" pod={record.namespace}/{record.pod}" if record.pod else ""
    sample = f" sample={record.sample}" if record.sample > 1 else ""
    return f"{_time(record.time)} {asked} {said} {len(record.query)}/{len(record.reply)}{pod}{sample}"


def coredns_line(record: Record) -> str:
    """Return a record as CoreDNS logs it."""
    rrclass, do, size = "-", False, _UDP_SIZE
    try:
        question = parse(record.query)
    except Malformed:
        pass
    else:
        rrclass = _class_name(question.rrclass)
        if question.edns is not None:
            do, size = question.edns.do, question.edns.size
    flags = header.flags_of(record.reply)
    said = ",".join(name for name, flag in _FLAGS if flags & flag)
    return (
        f"[INFO] {_client(record)} - {int.from_bytes(record.query[:2])} "
        f'"{record.rrtype or "-"} {rrclass} {record.name or "."} {record.protocol} {len(record.query)} '
        f'{str(do).lower()} {size}" {record.rcode} {said} {len(record.reply)} {record.duration / 1e9:.9f}s'
    )


@lru_cache(256)
def _class_name(number: int) -> str:
    """Return the name of a class: CLASS65280 for one that has none (RFC 3597)."""
    from dns import rdataclass  # here, as in record.type_name

    return rdataclass.to_text(rdataclass.RdataClass.make(number))


LINES: dict[str, Line] = {"json": json_line, "text": text_line, "coredns": coredns_line}
"""By the words of query_log.format."""


def _time(nanoseconds: int) -> str:
    when = datetime.fromtimestamp(nanoseconds // 1_000 / 1e6, UTC)
    return when.isoformat(timespec="microseconds").replace("+00:00", "Z")


def _client(record: Record) -> str:
    if not record.client:
        return "-"
    if not record.port:
        return record.client
    return f"[{record.client}]:{record.port}" if ":" in record.client else f"{record.client}:{record.port}"
