"""The client for Python in front of a running server, with asyncio and without."""

import asyncio
from collections.abc import Iterator

import pytest
from toolbox.running_server import RunningServer

from svcdns.client import ApiError, AsyncClient, Client, Connection, Mistake, Unreachable
from svcdns.objects.kinds import NAMESPACE, POD, SERVICE

NAME = "cache.default.svc.cluster.local"


@pytest.fixture(scope="module")
def server() -> Iterator[RunningServer]:
    with RunningServer(workers=1) as running:
        yield running


@pytest.fixture
def client(server: RunningServer) -> Iterator[Client]:
    with Client(Connection(server.api)) as there:
        yield there
        for service in there.list(SERVICE):
            there.delete(SERVICE, service["metadata"]["name"], service["metadata"]["namespace"])
        for pod in there.list(POD):
            there.delete(POD, pod["metadata"]["name"], pod["metadata"]["namespace"])


def test_an_added_service_answers_at_once(server: RunningServer, client: Client) -> None:
    client.add("cache", ["10.0.0.5", "10.0.0.6"], ports={"redis": 6379})
    assert server.answers(NAME) == ["10.0.0.5", "10.0.0.6"]
    assert len(server.answers(f"_redis._tcp.{NAME}", "SRV")) == 2


def test_adding_twice_changes_nothing_and_more_addresses_come_to_it(
    server: RunningServer, client: Client
) -> None:
    first = client.add("cache", ["10.0.0.5"], ports={"redis": 6379})
    again = client.add("cache", ["10.0.0.5"], ports={"redis": 6379})
    assert again.service["metadata"]["uid"] == first.service["metadata"]["uid"]
    assert again.pods[0]["metadata"]["resourceVersion"] == first.pods[0]["metadata"]["resourceVersion"]
    client.add("cache", ["2001:db8::5", "10.0.0.7"])
    assert server.answers(NAME) == ["10.0.0.5", "10.0.0.7"]
    assert client.get(SERVICE, "cache")["spec"]["ports"][0]["port"] == 6379  # type: ignore[index]


def test_aliases_given_by_several_at_once_all_stay(server: RunningServer, client: Client) -> None:
    client.add("cache", ["10.0.0.5"])
    names = [f"n{n}.home.arpa" for n in range(8)]

    async def give(name: str) -> None:
        async with AsyncClient(Connection(server.api)) as there:
            await there.add("cache", [], aliases=[name])

    async def all_of_them() -> None:
        await asyncio.gather(*map(give, names))

    asyncio.run(all_of_them())
    found = client.get(SERVICE, "cache")
    assert found is not None
    assert sorted(found["metadata"]["annotations"]["svcdns.io/aliases"].split(", ")) == names
    assert sorted(client.remove("cache", aliases=[names[0], names[3]])) == [
        "alias/n0.home.arpa",
        "alias/n3.home.arpa",
    ]


def test_two_that_add_to_one_name_at_once_both_come_in(server: RunningServer, client: Client) -> None:
    async def add(address: str) -> None:
        async with AsyncClient(Connection(server.api)) as there:
            await there.add("cache", [address], ports={"redis": 6379})

    async def both() -> None:
        await asyncio.gather(*(add(f"10.0.0.{n}") for n in range(1, 11)))

    asyncio.run(both())
    assert len(server.answers(NAME)) == 10


def test_unready_takes_out_and_ready_puts_back(server: RunningServer, client: Client) -> None:
    client.add("cache", ["10.0.0.5", "10.0.0.6"])
    assert client.set_ready("cache-10-0-0-5", False, "disk swap") == ["cache-10-0-0-5"]
    assert server.answers(NAME) == ["10.0.0.6"]
    assert any("disk swap" in reason for reason in client.explain("cache")["reasons"])
    assert len(client.set_ready("cache", True)) == 2
    assert server.answers(NAME) == ["10.0.0.5", "10.0.0.6"]


def test_remove_takes_some_addresses_or_all(server: RunningServer, client: Client) -> None:
    client.add("cache", ["10.0.0.5", "10.0.0.6"])
    assert client.remove("cache", ["10.0.0.5"]) == ["pod/cache-10-0-0-5"]
    assert server.answers(NAME) == ["10.0.0.6"]
    assert client.remove("cache") == ["pod/cache-10-0-0-6", "service/cache"]
    assert client.remove("cache") == []


def test_a_host_name_a_namespace_and_a_cluster_ip(server: RunningServer, client: Client) -> None:
    client.add("db", ["10.0.0.9"], namespace="shop", host_name="db-0")
    assert server.answers("db-0.db.shop.svc.cluster.local") == ["10.0.0.9"]
    made = client.add("web", ["10.0.0.8"], cluster_ip=True, ports={"http": 80})
    assert server.answers("web.default.svc.cluster.local") == [made.service["spec"]["clusterIP"]]
    assert client.get(NAMESPACE, "shop", "") is not None


@pytest.mark.parametrize(
    ("addresses", "more", "expected"),
    [
        (["10.0.0.999"], {}, "'10.0.0.999' is no address; allowed: such as"),
        (["10.0.0.1", "10.0.0.2"], {"host_name": "x"}, "a host name belongs to one address"),
        (["10.0.0.1"], {"cluster_ip": True}, "is there and headless"),
    ],
)
def test_what_cannot_be_added_is_said(
    client: Client, addresses: list[str], more: dict[str, object], expected: str
) -> None:
    client.add("cache", ["10.0.0.5"])
    with pytest.raises(Mistake, match=expected):
        client.add("cache", addresses, **more)


def test_a_refusal_has_its_causes(client: Client) -> None:
    with pytest.raises(ApiError) as refused:
        client.add("capital", ["10.0.0.5"], labels={"Not a key": ""})
    assert refused.value.status == 422
    assert refused.value.causes


def test_neither_pod_nor_service(client: Client) -> None:
    with pytest.raises(Mistake, match="neither a Pod nope nor a Service"):
        client.set_ready("nope", True)


def test_a_watch_begins_with_what_is_there(client: Client) -> None:
    client.add("cache", ["10.0.0.5"])
    events = client.watch(POD, "default")
    first = next(events)
    assert (first["type"], first["object"]["metadata"]["name"]) == ("ADDED", "cache-10-0-0-5")
    events.close()  # type: ignore[attr-defined]


def test_pages_of_a_list_come_together(client: Client) -> None:
    for number in range(3):
        client.add(f"s{number}", [])
    assert len(client.list(SERVICE)) == 3
    assert [one["metadata"]["name"] for one in client.list(SERVICE, fields="metadata.name=s1")] == ["s1"]


def test_nobody_there_is_said_with_where(unused_tcp_port_url: str) -> None:
    with pytest.raises(Unreachable, match="can't be reached: connection refused"):
        Client(Connection(unused_tcp_port_url, "--api")).list(SERVICE)


@pytest.fixture
def unused_tcp_port_url() -> Iterator[str]:
    """A port of the loopback that is bound, and at which nobody listens."""
    import socket

    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{bound.getsockname()[1]}"


def test_heartbeats(server: RunningServer, client: Client) -> None:
    client.add("cache", ["10.0.0.5"])
    with pytest.raises(ApiError, match="no annotation") as refused:
        client.heartbeat("cache-10-0-0-5")
    assert refused.value.status == 409
    promise = {"annotations": {"svcdns.io/heartbeat": "30s"}, "name": "cache-10-0-0-5"}
    client.apply({"apiVersion": "v1", "kind": "Pod", "metadata": promise}, force=False)
    assert client.heartbeat("cache-10-0-0-5")
    assert not client.heartbeat("nobody"), "register it again"

    async def beat() -> bool:
        async with AsyncClient(Connection(server.api)) as there:
            return await there.heartbeat("cache-10-0-0-5")

    assert asyncio.run(beat())


def test_where_a_replica_is_away_the_next_one_is_asked() -> None:
    """Each request is sent once: what fails is said, and the one after it goes elsewhere, and stays there."""

    async def work(first: RunningServer, second: RunningServer) -> None:
        gone = first.api
        connection = Connection(gone, others=(second.api,))
        async with AsyncClient(connection) as there:
            await there.add("of-the-first", ["10.0.0.1"])
            first.stop()
            with pytest.raises(Unreachable) as away:
                await there.add("of-the-second", ["10.0.0.2"])
            assert gone in str(away.value)
            for name in ("of-the-second", "of-the-second-too"):
                await there.add(name, ["10.0.0.2"])
        names = {one["metadata"]["name"] for one in Client(Connection(second.api)).list(SERVICE)}
        assert names == {"of-the-second", "of-the-second-too"}

    with RunningServer(workers=1) as first, RunningServer(workers=1) as second:
        asyncio.run(work(first, second))
