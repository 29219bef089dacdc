"""What bodies may take: octets in flight, time to arrive, and threads to be read in."""

import asyncio
import json
import threading

import pytest
from aiohttp import ClientSession
from toolbox.waiting import GUARD_SECONDS

from svcdns.api import bodies, body_limits
from svcdns.api.body_limits import FREE_OCTETS, BodyLimits
from svcdns.objects.errors import StatusError
from svcdns.system import bounded_yaml

SERVICES = "/api/v1/namespaces/shop/services"
JSON = {"Content-Type": "application/json"}


@pytest.fixture
def limits(request):
    """Give small limits; a parameter of the fixture are those of time that are not to be met."""
    seconds = {"silent_seconds": 0.3, "whole_seconds": 1.0, **getattr(request, "param", {})}
    return BodyLimits(in_all=300_000, of_client=200_000, **seconds)


@pytest.fixture
def options(limits):
    return {"bodies_limits": limits}


class HalfSent:
    """A request whose body never comes to its end."""

    def __init__(self, client, octets, *, promised=1_000_000):
        self._client, self._octets, self._promised = client, octets, promised

    async def __aenter__(self):
        self.reader, self._writer = await asyncio.open_connection("127.0.0.1", self._client.port)
        head = f"POST {SERVICES} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        self._writer.write(f"{head}Content-Length: {self._promised}\r\n\r\n".encode() + b" " * self._octets)
        await self._writer.drain()
        return self

    async def drip(self):
        """Send an octet every now and then for as long as it lasts."""
        while True:
            self._writer.write(b" ")
            await asyncio.sleep(0.1)

    async def status(self):
        head = await self.reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        return json.loads(await self.reader.readexactly(length))

    async def __aexit__(self, *_):
        self._writer.close()


async def test_a_body_that_stops_is_refused_in_time(client, limits):
    async with HalfSent(client, 50_000) as sent:
        status = await sent.status()
    assert (status["code"], status["reason"]) == (408, "Timeout")
    assert "0.3 s without an octet" in status["message"]
    await until(lambda: limits.held == 0)


@pytest.mark.parametrize("limits", [{"silent_seconds": 3600}], indirect=True)
async def test_a_body_that_drips_is_refused_in_time(client):
    async with HalfSent(client, 10) as sent:
        dripping = asyncio.create_task(sent.drip())
        status = await sent.status()
        dripping.cancel()
    assert status["code"] == 408


async def until(condition):
    async with asyncio.timeout(GUARD_SECONDS):
        while not condition():
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("limits", [{"silent_seconds": 3, "whole_seconds": 3600}], indirect=True)
async def test_octets_of_one_client_are_bounded_and_given_back(client, limits):
    async with HalfSent(client, 150_000), HalfSent(client, 50_000) as other:
        await until(lambda: limits.held >= 180_000 - 2 * FREE_OCTETS)
        answer = await client.post(SERVICES, data=b" " * 100_000, headers=JSON)
        status = await answer.json()
        assert (answer.status, status["reason"]) == (429, "TooManyRequests")
        assert "200000 octets of one client" in status["message"]
        assert answer.headers["Retry-After"] == "1"
        small = json.dumps({"metadata": {"name": "small"}, "spec": {"ports": [{"port": 80}]}})
        assert (await client.post(SERVICES, data=small, headers=JSON)).status == 201, "small ones go on"
        assert (await other.status())["code"] == 408
    await until(lambda: limits.held == 0)


def test_octets_in_all_are_bounded(limits):
    limits.take("192.0.2.1", 150_000)
    limits.take("192.0.2.2", 100_000)
    with pytest.raises(StatusError, match="300000 octets in all") as refused:
        limits.take("192.0.2.3", 60_000)
    assert (refused.value.code, limits.held) == (503, 250_000)
    limits.give_back("192.0.2.1", 150_000)
    limits.take("192.0.2.3", 60_000)
    with pytest.raises(StatusError, match="of one client") as refused:
        limits.take("192.0.2.2", 100_001)
    assert refused.value.code == 429


async def test_what_waits_for_a_thread_is_bounded(monkeypatch, limits):
    monkeypatch.setattr(body_limits, "MOST_WAITING", 2)
    gate = asyncio.Event()
    loop = asyncio.get_running_loop()

    def work():
        asyncio.run_coroutine_threadsafe(gate.wait(), loop).result()
        return "done"

    running = [asyncio.create_task(limits.run(work)) for _ in range(4)]
    await asyncio.sleep(0.05)
    with pytest.raises(StatusError, match="2 large ones that wait") as refused:
        await limits.run(work)
    assert refused.value.code == 503
    running.pop().cancel()  # its client has left
    await asyncio.sleep(0.05)
    running.append(asyncio.create_task(limits.run(work)))
    gate.set()
    assert await asyncio.gather(*running) == ["done"] * 4


async def test_large_yaml_does_not_hold_up_probes(client, monkeypatch):
    """Bodies of 65 KB, whose reading has no end before one of another client has been answered."""
    text = "metadata: {name: big}\nspec: {ports: [" + "{port: 59:59:59}," * 3800 + "]}"
    begun, answered = threading.Event(), threading.Event()
    really = bounded_yaml.documents

    def documents(*given):
        begun.set()
        assert answered.wait(GUARD_SECONDS), "the loop stands still"
        return really(*given)

    monkeypatch.setattr(bounded_yaml, "documents", documents)
    async with ClientSession(str(client.make_url("/"))) as session:

        async def post():
            answer = await session.post(SERVICES, data=text, headers={"Content-Type": "application/yaml"})
            return answer.status

        posting = [asyncio.create_task(post()) for _ in range(2)]
        await until(begun.is_set)
        assert (await client.get("/livez")).status == 200
        answered.set()
        assert set(await asyncio.gather(*posting)) <= {400, 422}


def test_json_of_many_values_is_refused_before_it_is_read():
    body = b'{"metadata":{"name":"x"},"spec":{"a":[' + b"1," * 200_001 + b"1]}}"
    with pytest.raises(StatusError, match="more than 200000 values") as refused:
        bodies.decode_json(body)
    assert refused.value.code == 400
    assert bodies.decode_json(json.dumps({"a": "," * 200_001}).encode()) == {"a": "," * 200_001}
