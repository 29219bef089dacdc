"""The prober: runs the probes of registered Pods, and writes what came of them through the API.

Run by the supervisor as `python -m svcdns.server.prober`.  When it dies the next one goes on: what stands in
the conditions of Pods holds until its thresholds say else.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from datetime import UTC, datetime
from functools import partial

import msgspec

from svcdns.client import ApiError, AsyncClient, Connection, Unreachable
from svcdns.client.calls import replicas
from svcdns.client.following import Changed, Listed, Lost, Page, Step, follow
from svcdns.cluster.rendezvous import of_object, owner
from svcdns.config.sections import Config
from svcdns.objects.kinds import POD
from svcdns.probes.checks import Checks
from svcdns.probes.conditions import Conditions
from svcdns.probes.networks import why_not
from svcdns.probes.prober import PodName, Prober
from svcdns.probes.verdicts import Verdict
from svcdns.system.background import background
from svcdns.system.log_on_change import LogOnChange

from .child_process import run
from .child_setup import Handoff

log = logging.getLogger(__name__)

DIVIDE_SECONDS = 1.0
"""Between two questions who lives."""

_decode = msgspec.json.decode


async def serve(handoff: Handoff, config: Config, stop: asyncio.Event) -> None:
    """Probe until stopped."""
    connection = Connection(handoff.api_url, "this server", handoff.api_token, verify=False)
    async with AsyncClient(connection) as client, Checks() as checks:
        conditions = Conditions(client)

        async def write(pod: PodName, uid: str, verdict: Verdict, turned: bool) -> None:
            await conditions.write(pod, uid, verdict, turned, datetime.now(UTC))

        allowed = config.probes.networks
        prober = Prober(checks.run, write, lambda address: why_not(address, allowed), checks.load)
        async with background(prober.write()), background(_follow(client, prober)):
            if config.store.etcd:
                await _divide(client, prober, stop)
            await stop.wait()
        prober.close()


async def _divide(client: AsyncClient, prober: Prober, stop: asyncio.Event) -> None:
    """Probe this replica's Pods, of all that live, until stopped; none before it is known who lives."""
    divided: tuple[str, list[str]] | None = None
    prober.divide(lambda pod: False)
    while not stop.is_set():
        with contextlib.suppress(ApiError, Unreachable):  # those that were its own are so for now
            page = await client.run(replicas())
            own, living = page["name"], [one["name"] for one in page["replicas"]]
            if (own, living) != divided:
                divided = own, living
                prober.divide(partial(_is_own, own, living))
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), DIVIDE_SECONDS)


def _is_own(own: str, living: list[str], pod: PodName) -> bool:
    return bool(own) and owner(of_object(POD.name, *pod), living) == own


async def _follow(client: AsyncClient, prober: Prober) -> None:
    """Tell the prober of every Pod there is, for ever."""
    told = _Told(prober)
    async for step in follow(client, POD):
        told.of(step)


class _Told:
    """What the prober has been told while all Pods are listed."""

    def __init__(self, prober: Prober) -> None:
        self._prober = prober
        self._listed: set[PodName] = set()
        self._trouble = LogOnChange("")

    def of(self, step: Step) -> None:
        """Pass one step of following on."""
        match step:
            case Page(items):
                for pod in map(_decode, items):
                    self._prober.put(pod)
                    self._listed.add(PodName(pod["metadata"]["namespace"], pod["metadata"]["name"]))
            case Listed():
                self._prober.keep(self._listed)
                self._listed = set()
                self._trouble.is_new("")
            case Changed(events):
                for kind, raw in events:
                    pod = _decode(raw)
                    self._prober.remove(pod) if kind == "DELETED" else self._prober.put(pod)
            case Lost(why):
                self._listed = set()
                if self._trouble.is_new(why):
                    log.warning("Pods can't be followed, those known are probed on: %s", why)


if __name__ == "__main__":
    run(serve)
