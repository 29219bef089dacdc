"""POST /svcdns/v1/heartbeats: the heartbeats of many Pods at once.

    [{"namespace": "shop", "name": "web-1"}, {"namespace": "shop", "name": "web-2"}]
    -> {"counted": 1, "refused": [{"namespace": "shop", "name": "web-2", "code": 404, "message": "..."}]}

404 asks to register the Pod again, 409 says that it has no annotation svcdns.io/heartbeat; the others count.
It is for who may update pods/heartbeat in all namespaces of the list; else nothing of it counts.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

import msgspec
from aiohttp import web

from svcdns.objects.errors import StatusError, bad_request
from svcdns.objects.kinds import POD
from svcdns.registry.heartbeats import Key, Refused

from . import bodies
from .paths import Action
from .responses import json_answer, method_not_allowed

PATH = "/svcdns/v1/heartbeats"
METHODS = ("POST",)
MOST = 10_000
"""Pods in one list."""
_CHUNK = 250
"""Pods before others get their turn."""

BeatEach = Callable[[Sequence[Key]], Awaitable[list[Refused]]]
"""Counts heartbeats; see Heartbeats.beat_each."""
Check = Callable[[web.Request, Action], None]
"""Raises StatusError 403 where who asks may not do this."""


class _Named(msgspec.Struct):
    name: str
    namespace: str = "default"


_decode = msgspec.json.Decoder(list[_Named]).decode


def updating(namespace: str) -> Action:
    """What somebody must be allowed to do in a namespace."""
    return Action("update", POD.group, POD.plural, "heartbeat", namespace)


async def answer(request: web.Request, beat_each: BeatEach, check: Check) -> web.Response:
    """Count the heartbeats of a list.  Raises StatusError 400, 403, 405, 413 and as writes do."""
    if request.method not in METHODS:
        raise method_not_allowed()
    try:
        named = _decode(await bodies.read(request))
    except (msgspec.DecodeError, UnicodeDecodeError) as wrong:
        text = f'a list of {{"namespace": NAMESPACE, "name": POD}} is expected: {wrong}'
        raise bad_request(text) from None
    if len(named) > MOST:
        raise StatusError(413, "RequestEntityTooLarge", f"at most {MOST} Pods are allowed in one list")
    keys = list(dict.fromkeys((one.namespace, one.name) for one in named))
    for namespace in dict.fromkeys(namespace for namespace, _ in keys):
        check(request, updating(namespace))
    refused: list[Refused] = []
    for start in range(0, len(keys), _CHUNK):
        refused += await beat_each(keys[start : start + _CHUNK])
    found = {"counted": len(keys) - len(refused), "refused": refused}
    return json_answer(request, msgspec.json.encode(found))
