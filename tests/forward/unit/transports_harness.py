"""One upstream, made and asked in a test, after which nothing of it is left in the loop."""

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import dns.edns
import dns.message
import dns.rdatatype
import pytest
from toolbox.upstreams import Unbound

from svcdns.config.upstream_spec import parse
from svcdns.forward.upstreams.factory import make
from svcdns.forward.upstreams.upstream import NoReply, Upstream
from svcdns.wire.query import Query
from svcdns.wire.response import Response

HANG = 30.0
"""Seconds: an upstream that is well answers sooner."""
SOON = 10.0
"""Generous, and well below HANG."""
KINDS = ("udp", "tcp", "tls", "https")
MANY, HUGE = 200, 240
"""RRs of the names `many` and `huge` of upstreams.RECORDS."""


def ask_for(name: str, rrtype: str = "A", **flags: bool) -> Query:
    wire = dns.name.from_text(name).to_wire()
    assert wire is not None
    return Query(
        b"".join(reversed(wire.lower().split(b"."))), dns.rdatatype.from_text(rrtype), name=wire, **flags
    )


WWW = ask_for("www.example.org.")


def text_of(server: Unbound, kind: str) -> str:
    texts = {"udp": server.address, "tcp": f"tcp://{server.address}"}
    return texts.get(kind) or (server.tls_address if kind == "tls" else server.https_address)


@asynccontextmanager
async def upstream(text: str, ca: Path | None = None) -> AsyncIterator[Upstream]:
    """Make one; afterwards nothing of it may be left in the loop."""
    made = make(parse(text), ca)
    try:
        yield made
    finally:
        await made.close()
    assert not left_over()


def left_over() -> list[object]:
    """Return tasks beside the running one and sockets in this loop, also by way of another epoll object."""
    loop: Any = asyncio.get_running_loop()
    found: list[object] = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for key in loop._selector.get_map().values():
        if os.readlink(f"/proc/self/fd/{key.fd}") == "anon_inode:[eventpoll]":
            watched = Path(f"/proc/self/fdinfo/{key.fd}").read_text()
            found += [line for line in watched.splitlines() if line.startswith("tfd:")]
        elif key.fd != loop._ssock.fileno():
            found.append(key)
    return found


async def exchange(text: str, *asks: Query, seconds: float = HANG, ca: Path | None = None) -> list[Response]:
    """Ask one after the other."""
    async with upstream(text, ca) as made:
        return [await made.exchange(ask, seconds) for ask in asks]


def data_of(received: Response) -> list[str]:
    parsed = dns.message.from_wire(received.wire)
    return sorted(rdata.to_text() for rrset in parsed.answer for rdata in rrset)


async def no_reply(text: str, seconds: float, ca: Path | None = None, ask: Query = WWW) -> tuple[str, float]:
    """Return why there was none, and after how many seconds."""
    async with upstream(text, ca) as made:
        start = time.monotonic()
        with pytest.raises(NoReply) as caught:
            await made.exchange(ask, seconds)
        return str(caught.value), time.monotonic() - start
