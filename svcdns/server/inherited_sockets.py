"""The sockets of a new configuration, made of those that a running server has.

* What the new configuration still names stays open, with all that waits in it.
* What it adds is bound; what it no longer names is closed when the old processes have gone.
* More workers get sockets of their own where these can be bound; where not (another user bound the first
  ones, a port below 1024), they read the same as others.  Fewer workers read several each: to close a socket
  would lose what waits in it.

Standard library only.
"""

from __future__ import annotations

import socket

from svcdns.config.sections import Config, Endpoint

from .sockets import BindError, Sockets, dns_pair, link, more_udp, passing, tcp_listener


def follow(old: Sockets, before: Config, config: Config, workers: int) -> Sockets:
    """Return the sockets for `config`, where `old` are those of `before`.  Raises BindError."""
    opened: list[socket.socket] = []
    rows = [row for row in old.udp if all(one.fileno() >= 0 for one in row)]  # not of a worker given up
    count = max(len(rows), workers)
    places = _places(old, before, config)
    try:
        columns = [
            _column(listen, at, old, rows, count, opened)
            for listen, at in zip(config.dns.listen, places, strict=True)
        ]
        same_api = config.api.listen in (before.api.listen, old.api_address)
        api = old.api if same_api else tcp_listener(config.api.listen, opened, "API, TCP", "--api")
    except BaseException:
        for one in opened:
            one.close()
        raise
    udp = [list(row) for row in zip(*(column[0] for column in columns), strict=True)]
    links = [link() for _ in range(workers)] if config.forward.forwards else []
    flush = link() if config.forward.forwards else None
    address = Endpoint(config.api.listen.host, api.getsockname()[1])
    tcp = [tcp for _, tcp, _ in columns]
    return Sockets(udp, tcp, api, links, passing(), flush, [there for *_, there in columns], address)


def _places(old: Sockets, before: Config, config: Config) -> list[int]:
    """Return where among the old addresses each new one stands, -1 for one that is new."""
    left = list(range(len(before.dns.listen)))
    places = []
    for listen in config.dns.listen:
        same = (at for at in left if listen in (before.dns.listen[at], old.dns_addresses[at]))
        at = next(same, -1)
        if at >= 0:
            left.remove(at)
        places.append(at)
    return places


def _column(
    listen: Endpoint,
    at: int,
    old: Sockets,
    rows: list[list[socket.socket]],
    count: int,
    opened: list[socket.socket],
) -> tuple[list[socket.socket], socket.socket, Endpoint]:
    """Return an address' `count` UDP sockets, its TCP listener, and the address itself."""
    if at >= 0:
        udp, tcp, address = [row[at] for row in rows], old.tcp[at], old.dns_addresses[at]
    else:
        first, tcp = dns_pair(listen, opened)
        udp, address = [first], Endpoint(listen.host, first.getsockname()[1])
    for number in range(count - len(udp)):
        try:
            udp.append(more_udp(address, opened))
        except BindError:
            udp.append(udp[number])
    return udp, tcp, address


def close_others(sockets: Sockets, kept: Sockets) -> None:
    """Close those of `sockets` that are not in `kept`."""
    stay = set(kept.all())
    for one in sockets.all():
        if one not in stay:
            one.close()
