"""Paths and the header by which proxies say how far they are, and clients wait for them (see `proxies`).

    POST /svcdns/v1/proxies/NODE?services=12&endpointslices=15    {"services": 20, "endpointslices": 15} or {}
                            ... &engine=nft&carries=7             (what it carries by, and how many Services)
    GET  /svcdns/v1/wait?for=proxies&seconds=5                    {"proxies": ["a", "b"]}
    Svcdns-Wait: proxies      or     Svcdns-Wait: proxies=5       beside any write

The POST is held open until somebody waits for more than the proxy has (at most HELD_SECONDS).  A wait that is
not over in time is a 504 that names the nodes; beside a write, whose answer is its own, it is a Warning.
"""

from __future__ import annotations

import re
from urllib.parse import unquote

import msgspec
from aiohttp import web

from svcdns.objects.errors import Cause, StatusError
from svcdns.objects.kinds import LEASE

from .paths import READ, Action
from .proxies import FOLLOWED, Carries, Proxies, TooMany
from .responses import json_answer, method_not_allowed, warning_headers

REPORTS = "/svcdns/v1/proxies/"
METHODS = ("POST",)
"""Of a report."""
WAIT = "/svcdns/v1/wait"
HEADER = "Svcdns-Wait"
HELD_SECONDS = 20.0
"""For so long a proxy's request is held open; less than what its client waits for an answer."""
MOST_SECONDS = 60.0
_BESIDE_A_WRITE = 1.0
"""Seconds that a write waits where the header says nothing else."""
_NODE = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
_SECONDS = re.compile(r"[0-9]{1,3}(\.[0-9]{1,3})?")
_ENGINE = re.compile(r"[a-z]{1,16}")
_REVISION = re.compile(r"[0-9]{1,18}")


def is_report(path: str) -> bool:
    """Say whether a path is that of a proxy's report."""
    return path.startswith(REPORTS)


def reporting(path: str) -> Action:
    """Return what a proxy must be allowed to do to report: what its node does to say that it is there."""
    name = unquote(path.removeprefix(REPORTS))
    return Action("update", LEASE.group, LEASE.plural, namespace="kube-node-lease", name=name)


async def report(request: web.Request, path: str, proxies: Proxies) -> web.Response:
    """Note how far a proxy is, and answer when somebody wants it to be further.  Raises StatusError."""
    if request.method not in METHODS:
        raise method_not_allowed()
    node = unquote(path.removeprefix(REPORTS))
    if not _NODE.fullmatch(node):
        raise _invalid("NODE must be the name of a node", "node")
    held = {kind.plural: _revision(request, kind.plural) for kind in FOLLOWED}
    try:
        wanted = await proxies.report(node, held, HELD_SECONDS, _carries(request))
    except TooMany:
        raise StatusError(429, "TooManyRequests", "too many proxies are connected", retry_after=5) from None
    return json_answer(request, msgspec.json.encode(wanted))


async def wait(request: web.Request, proxies: Proxies) -> web.Response:
    """Answer once every proxy does what was acknowledged.  Raises StatusError 400, 503 and 504."""
    if request.query.get("for", "proxies") != "proxies":
        raise _invalid("for must be proxies", "for")
    seconds = _seconds(request.query.get("seconds", "10"), "seconds")
    if not (there := proxies.there()):
        raise StatusError(503, "ServiceUnavailable", "no proxy follows this server; see svcdns proxy --help")
    if behind := await proxies.wait(seconds):
        raise StatusError(504, "Timeout", _behind(behind, seconds))
    return json_answer(request, msgspec.json.encode({"proxies": there}))


def asked(request: web.Request) -> float | None:
    """Return for how many seconds a write waits for the proxies, None: not at all.  Raises StatusError."""
    given = request.headers.get(HEADER)
    if given is None or request.method in READ:
        return None
    what, equals, seconds = given.partition("=")
    if what.strip() != "proxies":
        raise _invalid(f"the header {HEADER} must be proxies or proxies=SECONDS", HEADER)
    return _seconds(seconds.strip(), HEADER) if equals else _BESIDE_A_WRITE


async def wait_beside(answer: web.StreamResponse, proxies: Proxies, seconds: float) -> None:
    """Hold the answer of a write back until every proxy does what it says; else it gets a Warning."""
    if not 200 <= answer.status < 300:
        return
    text = ""
    if not proxies.there():
        text = f"{HEADER}: no proxy follows this server"
    elif behind := await proxies.wait(seconds):
        text = _behind(behind, seconds)
    for value in warning_headers([text] if text else []):
        answer.headers.add("Warning", value)


def _behind(nodes: list[str], seconds: float) -> str:
    some = ", ".join(nodes[:5]) + (f" and {len(nodes) - 5} more" if len(nodes) > 5 else "")
    return f"the traffic does not follow yet, after {seconds:g} s: the proxy on {some} is behind"


def _revision(request: web.Request, name: str) -> int:
    given = request.query.get(name, "")
    if not _REVISION.fullmatch(given):
        raise _invalid(f"{name} must be the resourceVersion up to which they are in effect", name)
    return int(given)


def _carries(request: web.Request) -> Carries:
    engine, services = request.query.get("engine", ""), request.query.get("carries", "")
    if engine and not _ENGINE.fullmatch(engine):
        raise _invalid("engine must be a word", "engine")
    if services and not _REVISION.fullmatch(services):
        raise _invalid("carries must be a number of Services", "carries")
    return Carries(engine, int(services) if services else None)


def _seconds(given: str, field: str) -> float:
    if not _SECONDS.fullmatch(given) or float(given) > MOST_SECONDS:
        raise _invalid(f"{field}: seconds must be a number from 0 to {MOST_SECONDS:g}", field)
    return float(given)


def _invalid(text: str, field: str) -> StatusError:
    return StatusError(400, "BadRequest", text, causes=[Cause("FieldValueInvalid", text, field)])
