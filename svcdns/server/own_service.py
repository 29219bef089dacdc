"""The Service default/kubernetes: under this name programs in a cluster look for the API, which is ours.

A Service without a selector and a slice with the addresses at which the API is reached, as kube-apiserver
keeps them itself (pkg/controlplane/controller/kubernetesservice): made at start, and put back or put right
when somebody deletes or changes them. Option `services.kubernetes`.

Where servers share a registry, each keeps slices of its own, called after it; those of one that lives no
more are taken away by the replica whose work the Service is, and so are those of a server that had the
registry alone.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from ipaddress import ip_address
from typing import Any

import lmdb
import msgspec

from svcdns.cluster.allocation import address, usable
from svcdns.cluster.endpoints import SERVICE_NAME_LABEL
from svcdns.config.sections import Config
from svcdns.objects.errors import StatusError
from svcdns.objects.kinds import ENDPOINTSLICE, SERVICE, Kind
from svcdns.objects.selectors import LabelSelector
from svcdns.registry.registry import Registry
from svcdns.registry.requests import DeleteOptions, Patch, Selection, WriteOptions
from svcdns.system.background import background
from svcdns.system.log_on_change import LogOnChange

NAMESPACE, NAME = "default", "kubernetes"
PORT_NAME, PORT = "https", 443
"""As in Kubernetes, whatever the API really speaks: clients look for this name."""
POLL_SECONDS = 1.0
"""Between two looks at it: a look is three reads, and a watch would cost every write of a Service more."""
REPLICA_LABEL = "svcdns.io/replica"
"""Whose a slice is, of those that share a registry."""
_WORK = (SERVICE.name, NAMESPACE, NAME)
_MISSING, _THERE, _TAKEN = 404, 409, 422
_LABELS = {"component": "apiserver", "provider": "kubernetes"}
_SOMEWHERE = {4: "192.0.2.1", 6: "2001:db8::1"}
"""Addresses for documentation (RFC 5737, RFC 3849): outside of every network, so behind the default route."""

Object = dict[str, Any]

log = logging.getLogger(__name__)


def addresses(listens: str, advertised: Sequence[str]) -> list[str]:
    """Return where others reach an API that listens at an address, or as the configuration says.

    A wildcard stands for the address from which this machine sends to others, loopback where there are none.
    """
    if advertised:
        return list(dict.fromkeys(advertised))
    here = ip_address(listens)
    if not here.is_unspecified:
        return [str(here)]
    return [_source_address(here.version) or ("127.0.0.1" if here.version == 4 else "::1")]


def _source_address(version: int) -> str:
    """Return the address of the default route's interface, "" without such a route. Nothing is sent."""
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((_SOMEWHERE[version], 9))
            return str(probe.getsockname()[0])
    except OSError:
        return ""


@asynccontextmanager
async def kept(registry: Registry, config: Config, api: socket.socket) -> AsyncIterator[None]:
    """Keep the Service while the body runs, if that is wanted; it is there when the body begins.

    Where nothing can be written it is made later.
    """
    async with AsyncExitStack() as stack:
        if config.services.kubernetes:
            host, port, *_ = api.getsockname()
            own = OwnService(registry, lambda: addresses(host, config.api.advertise_addresses), port)
            await own.try_to_repair()
            await stack.enter_async_context(background(own.run()))
        yield


class OwnService:
    """The Service and its slices, as they ought to be."""

    def __init__(self, registry: Registry, where: Callable[[], Sequence[str]], port: int) -> None:
        """`where` says at which addresses the API is reached now, at `port`: networks come up and change."""
        self._registry = registry
        self._where = where
        self._port = port
        self._trouble = LogOnChange()

    async def run(self) -> None:
        """Put back and put right what others delete or change, until cancelled."""
        while True:
            await asyncio.sleep(POLL_SECONDS)
            await self.try_to_repair()

    async def try_to_repair(self) -> None:
        """Bring all to what it ought to be; what fails is logged, once, and tried again later."""
        trouble = ""
        try:
            await self.repair()
        except (StatusError, lmdb.Error) as refused:
            trouble = str(refused)
        if self._trouble.is_new(trouble) and trouble:
            log.warning("the Service %s/%s can't be kept: %s", NAMESPACE, NAME, trouble)

    async def repair(self) -> None:
        """Bring the Service and its slices to what they ought to be.  Raises StatusError, lmdb.Error."""
        await self._repair_service()
        names = self._slice_names()
        slices = dict(_slices(names, self._where(), self._port))
        for name, wanted in slices.items():
            await self._repair_slice(name, wanted)
        for name in (*names, *self._left_behind()):
            if name not in slices and self._find(ENDPOINTSLICE, name) is not None:
                await self._registry.delete(ENDPOINTSLICE, NAMESPACE, name, DeleteOptions())

    @property
    def _replica(self) -> str:
        """What this server is called among those that share the registry, "" where it has one alone."""
        return sharing.name if (sharing := self._registry.sharing) is not None else ""

    def _slice_names(self) -> tuple[str, str]:
        """Return the names of this server's slices: of the first address's family, and of the other one."""
        name = f"{NAME}-{self._replica}" if self._replica else NAME
        return name, f"{name}-2"

    def _left_behind(self) -> Iterator[str]:
        """Yield the names of slices of servers that are there no more, where it is for us to see to them."""
        sharing = self._registry.sharing
        if sharing is None or sharing.outage_seconds or not self._registry.work.is_own(*_WORK):
            return
        selected = Selection(labels=LabelSelector.parse(f"{SERVICE_NAME_LABEL}={NAME}"))
        for octets in self._registry.page(ENDPOINTSLICE, NAMESPACE, selected).items:
            metadata = msgspec.json.decode(octets)["metadata"]
            replica, name = metadata["labels"].get(REPLICA_LABEL), metadata["name"]
            if name in (NAME, f"{NAME}-2") if replica is None else replica not in sharing.living:
                yield name

    async def _repair_service(self) -> None:
        wanted = {"ports": [{"name": PORT_NAME, "port": PORT, "protocol": "TCP", "targetPort": self._port}]}
        found = self._find(SERVICE, NAME)
        if found is None:
            await self._create_service(wanted)
            return
        spec = found["spec"]
        ports = [
            {key: value for key, value in port.items() if key != "nodePort"} for port in spec.get("ports", [])
        ]
        if self._replica and len(ports) == 1:
            ports[0]["targetPort"] = self._port  # each replica's API may listen at another one
        if ports == wanted["ports"] and "selector" not in spec and spec["type"] != "ExternalName":
            return
        type_ = "ClusterIP" if spec["type"] == "ExternalName" else spec["type"]
        change = {"spec": {**wanted, "type": type_, "selector": None, "externalName": None}}
        await self._registry.patch(SERVICE, NAMESPACE, NAME, Patch("merge", change), WriteOptions())

    async def _create_service(self, spec: Object) -> None:
        """Create the Service with the first address of the first range, as in Kubernetes, if that is free."""
        network = self._registry.settings.config.services.cluster_ip_ranges[0]
        first = str(address(usable(network)[0], network))
        body = {"metadata": {"name": NAME, "labels": _LABELS}, "spec": spec}
        try:
            asking = {**body, "spec": {**spec, "clusterIP": first}}
            await self._registry.create(SERVICE, NAMESPACE, asking, WriteOptions())
        except StatusError as refused:
            if refused.code == _THERE:
                return  # another replica was faster
            if refused.code != _TAKEN:
                raise
            await self._registry.create(SERVICE, NAMESPACE, body, WriteOptions())

    async def _repair_slice(self, name: str, wanted: Object) -> None:
        labels = {SERVICE_NAME_LABEL: NAME} | ({REPLICA_LABEL: self._replica} if self._replica else {})
        body = {**wanted, "metadata": {"name": name, "labels": labels}}
        found = self._find(ENDPOINTSLICE, name)
        if found is not None:
            has = found["metadata"].get("labels") or {}
            if labels.items() <= has.items() and all(found.get(key) == wanted[key] for key in wanted):
                return
            if found["addressType"] == wanted["addressType"]:
                await self._registry.replace(ENDPOINTSLICE, NAMESPACE, name, body, WriteOptions())
                return
            # The type of addresses can't be changed.
            await self._registry.delete(ENDPOINTSLICE, NAMESPACE, name, DeleteOptions())
        await self._registry.create(ENDPOINTSLICE, NAMESPACE, body, WriteOptions())

    def _find(self, kind: Kind, name: str) -> Object | None:
        try:
            return dict(msgspec.json.decode(self._registry.get(kind, NAMESPACE, name)))
        except StatusError as missing:
            if missing.code != _MISSING:
                raise
            return None


def _slices(names: tuple[str, str], where: Sequence[str], port: int) -> Iterator[tuple[str, Object]]:
    """Yield a slice of each family, and its name; the first address's has the first one."""
    families = list(dict.fromkeys(f"IPv{ip_address(one).version}" for one in where))
    for name, family in zip(names, families, strict=False):
        of_family = [one for one in where if f"IPv{ip_address(one).version}" == family]
        yield (
            name,
            {
                "addressType": family,
                "endpoints": [{"addresses": [one], "conditions": {"ready": True}} for one in of_family],
                "ports": [{"name": PORT_NAME, "port": port, "protocol": "TCP"}],
            },
        )
