"""An agent in the test's own loop, and an engine that writes down what it is told and carries nothing."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from ipaddress import ip_network
from typing import Any

import httpcore
from toolbox.waiting import until

from svcdns.client import AsyncClient, Connection
from svcdns.cluster.traffic import frontend_text
from svcdns.cluster.traffic_plan import Endpoint, Frontend, Host, Rule
from svcdns.config.sections import Config, ProxyConfig, ServicesConfig
from svcdns.config.sections import Endpoint as Listen
from svcdns.proxy.agent import Agent
from svcdns.proxy.engine import EngineError
from svcdns.proxy.machine import FixedMachine


@dataclass
class RecordingEngine:
    """Holds what it was told; `refuses` says what it would rather not be told."""

    name: str = "recording"
    rules: dict[Frontend, Rule] = field(default_factory=dict)
    host: Host = field(default_factory=Host)
    replaces: int = 0
    applies: list[set[str]] = field(default_factory=list)
    """By call, the frontends that it was told of."""
    refuses: Callable[[Mapping[Frontend, Rule | None]], bool] = lambda rules: False
    closed: bool = False

    def replace(self, rules: Mapping[Frontend, Rule], host: Host) -> None:
        self._maybe_refuse(rules)
        self.rules, self.host, self.replaces = dict(rules), host, self.replaces + 1

    def apply(self, changed: Mapping[Frontend, Rule | None], host: Host | None = None) -> None:
        self._maybe_refuse(changed)
        self.applies.append({frontend_text(at) for at in changed})
        self.host = host or self.host
        for frontend, rule in changed.items():
            if rule is None:
                del self.rules[frontend]
            else:
                self.rules[frontend] = rule

    def held(self) -> Mapping[str, int]:
        return {"frontends": len(self.rules)}

    def close(self) -> None:
        self.closed = True

    def endpoints(self, text: str) -> list[str] | None:
        """Where clients elsewhere go who connect to a frontend; None: it is not there."""
        for frontend, rule in self.rules.items():
            if frontend_text(frontend) == text:
                return [_shown(one) for one in rule.outside.endpoints]
        return None

    def _maybe_refuse(self, rules: Mapping[Frontend, Rule | None]) -> None:
        if self.refuses(rules):
            raise EngineError("no room for it")


def _shown(one: Endpoint) -> str:
    return f"{'.'.join(map(str, one.address))}:{one.port}"


@asynccontextmanager
async def running_agent(
    api: str,
    engine: RecordingEngine,
    *,
    host: Host | None = None,
    machine: FixedMachine | None = None,
    listed: bool = True,
    holder: str = "",
    **config: Any,
) -> AsyncIterator[Agent]:
    """An agent that follows the API at a URL; with `listed`, once the engine has been told of all."""
    config.setdefault("register", False)
    balanced = tuple(map(ip_network, config.pop("balanced", ())))
    proxy = ProxyConfig(healthz=Listen("127.0.0.1", config.pop("healthz_port", 0)), **config)
    async with AsyncClient(Connection(api)) as client:
        agent = Agent(
            Config(proxy=proxy, services=ServicesConfig(load_balancer_ranges=balanced)),
            "here",
            client,
            engine,
            machine or FixedMachine(host or Host()),
            holder,
        )
        stop = asyncio.Event()
        running = asyncio.create_task(agent.run(stop))
        try:
            if listed:
                await until(lambda: agent.sync.is_synced or running.done(), "the first sync")
            yield agent
        finally:
            stop.set()
            await running


async def fetched(url: str, **headers: str) -> tuple[int, dict[str, str], bytes]:
    """The status, headers and body that a URL answers with."""
    async with httpcore.AsyncConnectionPool() as pool:
        answer = await pool.request("GET", url, headers=headers)
        return answer.status, {k.decode().lower(): v.decode() for k, v in answer.headers}, answer.content
