"""Traffic that follows the registry: a proxy says how far it is, and others wait for all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from urllib.parse import quote, urlencode

from .exchange import Call, Request, answer

_REPORTS = "/svcdns/v1/proxies/"
_WAIT = "/svcdns/v1/wait"


def report(node: str, held: Mapping[str, int], engine: str = "", services: int = 0) -> Call[dict[str, int]]:
    """Say up to which revision a node's proxy has put Services and EndpointSlices into effect.

    Returns what somebody waits for, once that is more ({} after a while): call again when it is reached, or
    after a second.  `held` is {"services": REVISION, "endpointslices": REVISION}; `engine` is by what it
    carries, and `services` how many, for people.
    """
    said = {kind: str(revision) for kind, revision in held.items()}
    query = urlencode({**said, "engine": engine, "carries": services} if engine else said)
    wanted: dict[str, int] = yield from answer(Request("POST", f"{_REPORTS}{quote(node, safe='')}?{query}"))
    return wanted


def wait(seconds: float = 10) -> Call[Sequence[str]]:
    """Wait until the traffic does what was acknowledged by now; return the nodes whose proxies are there.

    Raises ApiError 503 where there is no proxy, 504 where one is behind after so many seconds.
    """
    done: Mapping[str, Sequence[str]] = yield from answer(Request("GET", f"{_WAIT}?seconds={seconds:g}"))
    return done["proxies"]
