"""What tests of forwarding look for in replies."""

import os
import signal
from typing import Any

from dns import edns, flags, rcode
from dns.message import Message
from toolbox.builders import service
from toolbox.running_server import RunningServer
from toolbox.waiting import wait_for

WEB = service("web", clusterIP="10.96.0.10")
WEB_NAME = "web.default.svc.cluster.local."
SERVICES = "/api/v1/namespaces/default/services"


def to(upstream: str, config: str = "", **options: Any) -> RunningServer:
    """Return a server, not yet started, that forwards to an upstream."""
    return RunningServer(config=f'[forward]\nupstreams = ["{upstream}"]\n{config}', **options)


def said(reply: Message) -> str:
    """Return the rcode."""
    return rcode.to_text(reply.rcode())


def errors(reply: Message) -> list[int]:
    """Return the codes of Extended DNS Errors."""
    return [int(option.code) for option in reply.options if isinstance(option, edns.EDEOption)]


def has(reply: Message, flag: str) -> bool:
    """Say whether a flag (AA, RA, AD, TC) is set."""
    return bool(reply.flags & flags.Flag[flag])


def data(reply: Message) -> list[str]:
    """Return the answer's RRs as sorted texts without owner and TTL."""
    return sorted(f"{rrset.rdtype.name} {rdata}" for rrset in reply.answer for rdata in rrset)


def forwarder_pid(server: RunningServer) -> int:
    """Return the pid of the forwarder; waits for the next one while it is being started again."""
    counters = server.counters()
    return wait_for(lambda: counters.get(counters.forwarder, "pid"), "the forwarder's pid")


def kill_forwarder(server: RunningServer) -> None:
    """Kill the forwarder and return when its death was seen."""
    counters = server.counters()
    restarts = counters.get(counters.forwarder, "restarts")
    os.kill(forwarder_pid(server), signal.SIGKILL)
    wait_for(lambda: counters.get(counters.forwarder, "restarts") > restarts, "its death to be seen")


def wait_for_forwarder(server: RunningServer) -> None:
    """Return when the forwarder is there."""
    counters = server.counters()
    wait_for(lambda: counters.get(counters.forwarder, "ready"), "the forwarder")


def metric(server: RunningServer, name: str) -> float:
    """Return the sum of a metric's samples, labels left aside."""
    lines = server.get("/metrics").text.splitlines()
    values = [float(line.split()[-1]) for line in lines if line.startswith((name + " ", name + "{"))]
    assert values, f"no metric {name}"
    return sum(values)
