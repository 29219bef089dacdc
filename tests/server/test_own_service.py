"""The Service default/kubernetes, which leads to our own API: `services.kubernetes`."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import pytest
from toolbox.builders import headless, service
from toolbox.registry_harness import RegistryHarness
from toolbox.running_server import RunningServer
from toolbox.waiting import wait_for

from svcdns.objects.errors import StatusError
from svcdns.objects.kinds import ENDPOINTSLICE, SERVICE, Kind
from svcdns.registry.registry import Registry
from svcdns.registry.requests import DeleteOptions, Patch, Selection, WriteOptions
from svcdns.server.own_service import OwnService, addresses

NAME = "kubernetes.default.svc.cluster.local"
SLICES = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices"
OPTIONS = WriteOptions()


def read(registry: Registry, kind: Kind, name: str = "kubernetes") -> dict[str, Any] | None:
    try:
        return dict(json.loads(registry.get(kind, "default", name)))
    except StatusError:
        return None


def is_right(registry: Registry, where: str = "192.0.2.7", port: int = 6443) -> bool:
    """Whether Service and slice are as they ought to be."""
    own, own_slice = read(registry, SERVICE), read(registry, ENDPOINTSLICE)
    if own is None or own_slice is None:
        return False
    ports = [{"name": "https", "port": 443, "protocol": "TCP", "targetPort": port}]
    return (
        (own["spec"]["type"], own["spec"].get("selector"), own["spec"]["ports"]) == ("ClusterIP", None, ports)
        and own_slice["endpoints"] == [{"addresses": [where], "conditions": {"ready": True}}]
        and own_slice["ports"] == [{"name": "https", "port": port, "protocol": "TCP"}]
        and own_slice["metadata"].get("labels") == {"kubernetes.io/service-name": "kubernetes"}
    )


async def change(registry: Registry, kind: Kind, patch: dict[str, Any]) -> None:
    await registry.patch(kind, "default", "kubernetes", Patch("merge", patch), OPTIONS)


def test_it_is_kept_by_a_server(tmp_path: Path) -> None:
    own = "/api/v1/namespaces/default/services/kubernetes"
    config = "[services]\nkubernetes = true\n"
    with RunningServer(workers=1, data=tmp_path / "data") as server:
        assert server.get(own).status == 404, "it is not there unless it is wanted"
    with RunningServer(workers=1, config=config, data=tmp_path / "data") as server:
        assert server.answers(NAME) == ["10.96.0.1"], "the first address, as in a cluster, at once"
        assert server.answers(f"_https._tcp.{NAME}", "SRV") == [f"0 100 443 {NAME}."]
        found = server.get(f"{SLICES}/kubernetes").json
        assert [each["addresses"] for each in found["endpoints"]] == [["127.0.0.1"]]
        assert f":{found['ports'][0]['port']}" in server.api
        assert server.delete(own).status == 200
        wait_for(lambda: server.get(own).status == 200, "what was deleted to be put back")


def test_it_is_put_right(run: Any) -> None:
    async def work(running: RegistryHarness) -> None:
        registry, own = running.registry, OwnService(running.registry, lambda: ["192.0.2.7"], 6443)
        await own.repair()
        assert is_right(registry)
        await change(registry, SERVICE, {"metadata": {"labels": {"mine": "kept"}}})
        for kind, patch in (
            (SERVICE, {"spec": {"ports": [{"name": "x", "port": 1}], "selector": {"app": "a"}}}),
            (SERVICE, {"spec": {"type": "ExternalName", "externalName": "example.org", "clusterIP": None}}),
            (ENDPOINTSLICE, {"endpoints": []}),
            (ENDPOINTSLICE, {"ports": []}),
            (ENDPOINTSLICE, {"metadata": {"labels": None}}),
        ):
            await change(registry, kind, patch)
            assert not is_right(registry)
            await own.repair()
            assert is_right(registry)
        assert (read(registry, SERVICE) or {})["metadata"]["labels"]["mine"] == "kept"
        for kind in (SERVICE, ENDPOINTSLICE):
            await registry.delete(kind, "default", "kubernetes", DeleteOptions())
            await own.repair()
            assert is_right(registry)
        before = registry.page(SERVICE, "", Selection()).revision
        await own.repair()
        assert registry.page(SERVICE, "", Selection()).revision == before, "what is right is not written"

    run(work)


def test_it_follows_the_api(run: Any) -> None:
    async def work(running: RegistryHarness) -> None:
        registry, where = running.registry, ["192.0.2.7", "2001:db8::7", "192.0.2.8"]
        own = OwnService(registry, lambda: where, 6443)
        await own.repair()
        both = (read(registry, ENDPOINTSLICE), read(registry, ENDPOINTSLICE, "kubernetes-2"))
        listed = [[each["addresses"][0] for each in (one or {})["endpoints"]] for one in both]
        assert listed == [["192.0.2.7", "192.0.2.8"], ["2001:db8::7"]]
        where[:] = ["192.0.2.9"]
        await own.repair()
        assert is_right(registry, "192.0.2.9"), "the network has changed meanwhile"
        await OwnService(registry, lambda: ["2001:db8::9"], 8443).repair()
        assert is_right(registry, "2001:db8::9", 8443), "the next start has another port and family"
        assert read(registry, ENDPOINTSLICE, "kubernetes-2") is None

    run(work)


def test_an_address_that_is_taken_is_left_to_its_service(run: Any) -> None:
    async def work(running: RegistryHarness) -> None:
        await running.registry.create(SERVICE, "default", service(clusterIP="10.96.0.1"), OPTIONS)
        await OwnService(running.registry, lambda: ["192.0.2.7"], 6443).repair()
        [address] = running.rrs(NAME, "A")
        assert address != "10.96.0.1"

    run(work)


def test_a_headless_one_of_the_users_own_stays_headless(run: Any) -> None:
    """So the name leads to the API where nothing carries traffic to cluster IPs."""

    async def work(running: RegistryHarness) -> None:
        await running.registry.create(SERVICE, "default", headless("kubernetes", selector=None), OPTIONS)
        await OwnService(running.registry, lambda: ["192.0.2.7"], 6443).repair()
        assert is_right(running.registry)
        assert running.rrs(NAME, "A") == ["192.0.2.7"]

    run(work)


def test_what_cannot_be_written_is_said_once(
    run: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work(running: RegistryHarness) -> None:
        own = OwnService(running.registry, lambda: ["192.0.2.7"], 6443)

        async def full(*_: Any) -> None:
            raise StatusError(507, "InsufficientStorage", "no space left on device")

        with monkeypatch.context() as patched:
            patched.setattr(running.registry, "create", full)
            for _ in range(2):
                await own.try_to_repair()
        [line] = [record.message for record in caplog.records if "kubernetes" in record.message]
        assert "no space left on device" in line
        await own.try_to_repair()
        assert is_right(running.registry)

    run(work)


@pytest.mark.parametrize(
    ("listens", "advertised", "found"),
    [
        ("127.0.0.1", (), ["127.0.0.1"]),
        ("192.0.2.1", (), ["192.0.2.1"]),
        ("2001:db8::1", (), ["2001:db8::1"]),
        ("0.0.0.0", ("192.0.2.1", "192.0.2.1", "2001:db8::1"), ["192.0.2.1", "2001:db8::1"]),
        ("127.0.0.1", ("192.0.2.1",), ["192.0.2.1"]),
    ],
)
def test_where_the_api_is_reached(listens: str, advertised: tuple[str, ...], found: list[str]) -> None:
    assert addresses(listens, advertised) == found


@pytest.mark.parametrize(("wildcard", "loopback"), [("0.0.0.0", "127.0.0.1"), ("::", "::1")])
def test_a_wildcard_stands_for_the_address_of_the_default_route(
    wildcard: str, loopback: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    [found] = addresses(wildcard, ())
    family = socket.AF_INET6 if ":" in found else socket.AF_INET
    with socket.socket(family) as probe:
        probe.bind((found, 0))  # an address of this machine

    def unreachable(*_: Any) -> None:
        raise OSError("Network is unreachable")

    monkeypatch.setattr(socket.socket, "connect", unreachable)
    assert addresses(wildcard, ()) == [loopback]
