"""A world that forwards: a worker's listeners, the link and the forwarder, in one loop, on real sockets.

Its upstreams are servers of their own (toolbox/upstreams.py), its cache is a real one.
"""

from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import dns.message
from behaviour.cluster_harness import ClusterHarness, Reply, config, question
from behaviour.listening import ask_tcp, ask_udp, sockets
from toolbox.misbehaving import Misbehaving

from svcdns.cache.store import Cache
from svcdns.config.sections import AclConfig, CacheConfig, Config, ForwardConfig
from svcdns.dns.access import Access, Rights
from svcdns.dns.answer import Answerer
from svcdns.dns.forward_link import ForwardLink
from svcdns.dns.tcp import TcpListener
from svcdns.dns.udp import UdpListener
from svcdns.dns.view import elsewhere
from svcdns.forward.bailiwick import Bailiwick
from svcdns.forward.clients import Clients
from svcdns.forward.intake import Forwarder, Loops
from svcdns.forward.partial_loops import PartialLoopDetector
from svcdns.forward.routes import Routes
from svcdns.forward.single_flight import Limits, Lookups, SingleFlight
from svcdns.server.sockets import link

STRANGER = "127.0.0.9"
"""A client that may not have its questions forwarded."""


def forwarding_config(
    upstreams: Iterable[str],
    *,
    forward: dict[str, Any] | None = None,
    cache: dict[str, Any] | None = None,
    acl: dict[str, Any] | None = None,
    **options: Any,
) -> Config:
    """Forward for all of the loopback but STRANGER; `options` as in `cluster_harness.config`."""
    return replace(
        config(**options),
        forward=ForwardConfig(**{"upstreams": tuple(upstreams), **(forward or {})}),
        cache=CacheConfig(**{"octets": 1 << 20, **(cache or {})}),
        acl=AclConfig(**{"forward": ("loopback", f"!{STRANGER}"), **(acl or {})}),
    )


def asked(upstream: Misbehaving) -> list[dns.message.Message]:
    """Return what an upstream was asked for a client, as far as names hold "example"."""
    return [query for query in list(upstream.asked) if "example" in str(query.question[0].name)]


class ForwardingClusterHarness(ClusterHarness):
    """A registry, and clients that ask over the network."""

    def __init__(self, folder: Path, configuration: Config) -> None:
        super().__init__(folder, configuration)
        self._serving = AsyncExitStack()
        self.place: tuple[str, int] = self.run(self._serving.enter_async_context(self._serve()))

    def close(self) -> None:
        self.run(self._serving.aclose())
        super().close()

    def ask(
        self, name: str, rrtype: str = "A", *, tcp: bool = False, source: str | None = None, **more: Any
    ) -> Reply:
        """Put a question; see `cluster_harness.question` for what else may be said."""
        query = question(name, rrtype, **more)

        async def work() -> Reply:
            if not tcp:
                return await ask_udp(self.place, query, source)
            (reply,) = await ask_tcp(self.place, query)
            return reply

        reply: Reply = self.run(work())
        assert "AD" not in reply.flags, "nothing was validated"
        return reply

    @asynccontextmanager
    async def _serve(self) -> AsyncIterator[tuple[str, int]]:
        own = self.config
        rights = Rights(Access.of(own))
        udp, tcp = sockets()
        workers_end, forwarders_end = link()
        cache = Cache(self.folder, own.cache.octets)
        self.routes = Routes(own.forward, [])
        bailiwick = Bailiwick(self.snapshots.begin, elsewhere(own.forward))
        self.flights = SingleFlight(
            self.routes.pool, cache, own.cache, bailiwick.departure, bailiwick.scrubbed
        )
        clients = Clients([udp], self.counters, rights, udp_size=own.dns.udp_size)
        limits = Limits(own.forward.outstanding, own.forward.outstanding_per_client)
        lookups = Lookups(self.flights, clients, limits)
        loops = Loops(self.routes.is_probe, PartialLoopDetector(lambda key: (), self.flights.is_under_way))
        self.forwarder = Forwarder([forwarders_end], clients, bailiwick, lookups, loops)
        self.answerer = Answerer(
            self.counters,
            udp_size=own.dns.udp_size,
            cache=cache.get,
            forwards=own.forward.forwards,
            elsewhere=elsewhere(own.forward),
        )
        begin, forward_link = self.snapshots.begin, ForwardLink(workers_end)
        on_udp = UdpListener(
            udp, begin, self.answerer, self.counters, rights=rights, forward_link=forward_link
        )
        on_tcp = TcpListener(
            tcp, begin, self.answerer, self.counters, rights=rights, forward_link=forward_link
        )
        await self.routes.start()
        self.forwarder.start()
        forward_link.start()
        on_udp.start()
        await on_tcp.start()
        try:
            yield tcp.getsockname()
        finally:
            on_udp.close()
            await on_tcp.close()
            forward_link.stop()
            self.forwarder.stop()
            await self.flights.stop(0)
            await self.routes.stop()
            cache.close()
            for one in (udp, tcp, workers_end, forwarders_end):
                one.close()
