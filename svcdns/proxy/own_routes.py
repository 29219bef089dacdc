"""Routes of ours: one for each range, to the loopback link, so that a packet to it starts out at all.

Packet rules give it another destination before it gets there; its source is chosen as for any other.  They
bear a number of ours (`networks.OWN_PROTOCOL`), so they need no file.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator

from svcdns.netlink import route, wire

from .changes_made import Restored
from .host_settings import HostSettings
from .networks import Found, own_routes, ranges_in_use, wanted_routes


def set_up(kernel: wire.Socket, found: Found, settings: HostSettings) -> Iterator[str]:
    """Make missing routes, take out those not wanted; yield what stands in the way, a line each."""
    wanted = {one.destination: one for one in wanted_routes(found, settings)}
    there = {one.destination: one for one in own_routes(found)}
    for destination, one in there.items():
        if destination not in wanted:
            yield from _taken_out(kernel, one)
    for destination, one in wanted.items():
        if destination not in there:
            yield from _made(kernel, one)
    for range_, what in ranges_in_use(found, settings).items():
        yield f"{range_} gets no route of ours: {what}"


def remove(kernel: wire.Socket, found: Found) -> Iterator[Restored]:
    """Take out all routes of ours; yield what came of each."""
    for one in own_routes(found):
        refused = "".join(_taken_out(kernel, one))
        yield Restored(refused or f"the route for {one.destination} is gone", not refused)


def _made(kernel: wire.Socket, one: route.Route) -> Iterator[str]:
    try:
        route.add_route(kernel, one)
    except wire.NetlinkError as wrong:
        if wrong.errno != errno.EEXIST:  # what made it since is seen by the next look
            yield f"{one.destination} gets no route of ours: {wrong.strerror}"


def _taken_out(kernel: wire.Socket, one: route.Route) -> Iterator[str]:
    try:
        route.delete_route(kernel, one)
    except wire.NetlinkError as wrong:
        if wrong.errno != errno.ESRCH:
            yield f"the route for {one.destination} stays: {wrong.strerror}"
