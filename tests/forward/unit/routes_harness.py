"""Routes at work in a test, and what is asked through them."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype

from svcdns.forward.routes import Routes
from svcdns.wire import codes
from svcdns.wire.key import key_of, wire_of
from svcdns.wire.query import Query

HANG = 30.0
LOOK = 0.02
"""Seconds between looks at files: what takes a second takes less here."""


def ask_for(name: str, rrtype: int = codes.A) -> Query:
    return Query(key_of(name), rrtype, name=wire_of(name))


@contextlib.asynccontextmanager
async def running(routes: Routes) -> AsyncIterator[Routes]:
    await routes.start()
    try:
        yield routes
    finally:
        await routes.stop()
        assert asyncio.all_tasks() == {asyncio.current_task()}, "nothing goes on after stop"


def upstreams(routes: Routes, zone: str = ".") -> list[str]:
    return [one["upstream"] for one in routes.status() if one["zone"] == zone]


async def answer(routes: Routes, name: str) -> str:
    """Return the one address that a name has."""
    pool = routes.pool(key_of(name))
    assert pool is not None
    received = await pool.resolve(ask_for(name))
    (rrset,) = dns.message.from_wire(received.wire).answer
    return str(rrset[0].to_text())
