"""Watch streams, as client-go's reflector and kubectl use them."""

import asyncio
import json
import socket

import pytest
from aiohttp import ClientConnectionError, ClientPayloadError
from api.web_sockets import put_20_mb
from toolbox.builders import pod, service
from toolbox.waiting import GUARD_SECONDS, until

from svcdns.objects.errors import StatusError
from svcdns.objects.kinds import POD, SERVICE
from svcdns.store import log

SERVICES = "/api/v1/namespaces/shop/services"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"


async def event(answer):
    """Return the next event of a stream, None at its end."""
    line = await asyncio.wait_for(answer.content.readline(), GUARD_SECONDS)
    return json.loads(line) if line else None


async def put(registry, name):
    await registry.put(SERVICE, "shop", service(name, labels={"app": name}))


@pytest.mark.parametrize("spelling", ["true", "True", "1", "t", "T", "TRUE"])
async def test_the_present_state_then_changes(client, registry, spelling):
    async with client.get(f"{SERVICES}?watch={spelling}") as answer:
        assert answer.headers["Transfer-Encoding"] == "chunked"
        first = await event(answer)
        assert (first["type"], first["object"]["metadata"]["name"]) == ("ADDED", "web")
        await put(registry, "db")
        second = await event(answer)
        assert (second["type"], second["object"]["metadata"]["name"]) == ("ADDED", "db")
        await client.delete(f"{SERVICES}/web")
        third = await event(answer)
        assert (third["type"], third["object"]["metadata"]["name"]) == ("DELETED", "web")


async def test_a_watch_goes_on_after_a_revision(client, registry):
    begun = registry.revision
    await put(registry, "db")
    async with client.get(f"{SERVICES}?watch=1&resourceVersion={begun}") as answer:
        assert (await event(answer))["object"]["metadata"]["name"] == "db"
    assert registry.calls[-1][-1] == begun


async def test_the_headers_of_an_idle_watch_come_at_once(client, registry):
    async with client.get(f"{SERVICES}?watch=1&resourceVersion={registry.revision}") as answer:
        assert answer.status == 200


async def test_selectors_of_a_watch(client, registry):
    url = f"{SERVICES}?watch=1&labelSelector=app=db&fieldSelector=metadata.name=db"
    async with client.get(url) as answer:
        await put(registry, "x")
        await put(registry, "db")
        assert (await event(answer))["object"]["metadata"]["name"] == "db"


async def test_initial_events_end_with_an_annotated_bookmark(client, registry):
    url = f"{SERVICES}?watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan"
    async with client.get(f"{url}&allowWatchBookmarks=true&resourceVersion=5") as answer:
        assert (await event(answer))["type"] == "ADDED"
        mark = await event(answer)
        assert mark["type"] == "BOOKMARK"
        assert (mark["object"]["kind"], mark["object"]["apiVersion"]) == ("Service", "v1")
        assert mark["object"]["metadata"] == {
            "resourceVersion": str(registry.revision),
            "creationTimestamp": None,
            "annotations": {"k8s.io/initial-events-end": "true"},
        }
        await put(registry, "db")
        assert (await event(answer))["object"]["metadata"]["name"] == "db"


async def test_no_initial_events_when_declined(client, registry):
    url = f"{SERVICES}?watch=1&sendInitialEvents=false&resourceVersionMatch=NotOlderThan"
    async with client.get(url) as answer:
        await put(registry, "db")
        assert (await event(answer))["object"]["metadata"]["name"] == "db"


async def test_the_mark_is_not_shown_to_those_who_did_not_ask(client, registry):
    async with client.get(f"{SERVICES}?watch=1") as answer:
        assert (await event(answer))["type"] == "ADDED"
        await put(registry, "db")
        assert (await event(answer))["type"] == "ADDED"


async def test_a_watch_ends_properly_at_its_timeout(client):
    async with client.get(f"{SERVICES}?watch=1&timeoutSeconds=1") as answer:
        assert (await event(answer))["type"] == "ADDED"
        assert await event(answer) is None  # and no error of a connection cut off


async def test_a_revision_too_old_is_http_410(client, registry, monkeypatch):
    monkeypatch.setattr(log, "KEEP", 3)
    monkeypatch.setattr(log, "_TRIM_SLACK", 0)
    begun = registry.revision
    for number in range(5):
        await put(registry, f"s{number}")
    answer = await client.get(f"{SERVICES}?watch=1&resourceVersion={begun}")
    status = await answer.json()
    assert (answer.status, status["reason"], status["kind"]) == (410, "Expired", "Status")


async def test_a_refusal_in_the_middle_is_an_error_event(client, registry):
    async with client.get(f"{SERVICES}?watch=1") as answer:
        await event(answer)
        registry.fail = StatusError(410, "Expired", "too old resource version: 1 (5)")
        await put(registry, "db")
        assert (await event(answer))["type"] == "ADDED"
        error = await event(answer)
        assert (error["type"], error["object"]["code"]) == ("ERROR", 410)
        assert await event(answer) is None


async def test_a_failure_in_the_middle_is_an_error_event_that_leaks_nothing(client, registry):
    async with client.get(f"{SERVICES}?watch=1") as answer:
        await event(answer)
        registry.fail = ZeroDivisionError("secret")
        await put(registry, "db")
        await event(answer)
        error = await event(answer)
        assert (error["object"]["code"], "secret" in str(error)) == (500, False)


async def test_a_client_that_leaves_ends_its_watch(client, registry):
    answer = await client.get(f"{SERVICES}?watch=1")
    await event(answer)
    assert registry.watchers == 1
    answer.close()
    await until(lambda: registry.watchers == 0)


async def test_a_watch_that_is_given_up_while_it_opens_ends_without_an_error(
    client, registry, monkeypatch, caplog
):
    wait = asyncio.wait

    async def given_up(*given, **more):
        monkeypatch.setattr(asyncio, "wait", wait)
        asyncio.current_task().cancel()
        return await wait(*given, **more)

    revision = (await (await client.get(SERVICES)).json())["metadata"]["resourceVersion"]
    monkeypatch.setattr(asyncio, "wait", given_up)
    with pytest.raises(ClientConnectionError):
        await client.get(f"{SERVICES}?watch=1&resourceVersion={revision}")
    await until(lambda: registry.watchers == 0)
    assert [one for one in caplog.records if one.exc_info] == []


async def test_a_shutdown_ends_streams_properly(client, server, registry):
    answer = await client.get(f"{SERVICES}?watch=1")
    await event(answer)
    closing = asyncio.ensure_future(server.runner.cleanup())
    assert await event(answer) is None
    await closing
    assert registry.watchers == 0


async def test_tables_of_a_watch_carry_columns_once(client, registry):
    async with client.get(f"{SERVICES}?watch=1", headers={"Accept": TABLE}) as answer:
        first = (await event(answer))["object"]
        assert (first["kind"], first["rows"][0]["cells"][0]) == ("Table", "web")
        assert first["columnDefinitions"][0]["name"] == "Name"
        await put(registry, "db")
        second = (await event(answer))["object"]
        assert (second["columnDefinitions"], second["rows"][0]["cells"][0]) == ([], "db")


async def test_http_1_0_gets_a_stream_without_chunks(client, server, registry):
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(f"GET {SERVICES}?watch=1&timeoutSeconds=1 HTTP/1.0\r\n\r\n".encode())
    text = await asyncio.wait_for(reader.read(), GUARD_SECONDS)
    writer.close()
    head, _, body = text.partition(b"\r\n\r\n")
    assert b"chunked" not in head
    assert json.loads(body)["type"] == "ADDED"


async def test_the_sum_of_watches_is_counted(client, registry):
    answer = await client.get(f"{SERVICES}?watch=1")
    await event(answer)
    text = await (await client.get("/metrics")).text()
    assert 'svcdns_api_watches{resource="services"} 1.0' in text
    answer.close()
    await until(lambda: registry.watchers == 0)


class TestBookmarks:
    @pytest.fixture
    def options(self):
        return {"bookmark_interval": 0.01}

    async def test_come_when_allowed_and_name_what_was_sent(self, client, registry):
        async with client.get(f"{SERVICES}?watch=1&allowWatchBookmarks=true") as answer:
            assert (await event(answer))["type"] == "ADDED"
            mark = await event(answer)
            assert (mark["type"], mark["object"]["metadata"]["resourceVersion"]) == (
                "BOOKMARK",
                str(registry.revision),
            )
            assert "annotations" not in mark["object"]["metadata"]
            await put(registry, "db")
            while (found := await event(answer))["type"] == "BOOKMARK":
                pass
            assert found["object"]["metadata"]["name"] == "db"
            mark = await event(answer)
            sent = found["object"]["metadata"]["resourceVersion"]
            assert mark["object"]["metadata"]["resourceVersion"] == sent

    async def test_never_come_uninvited(self, client, registry):
        async with client.get(f"{SERVICES}?watch=1&timeoutSeconds=1") as answer:
            assert (await event(answer))["type"] == "ADDED"
            assert await event(answer) is None

    async def test_are_rows_in_a_table(self, client, registry):
        url = f"{SERVICES}?watch=1&allowWatchBookmarks=1"
        async with client.get(url, headers={"Accept": TABLE}) as answer:
            await event(answer)
            mark = await event(answer)
            revision = mark["object"]["rows"][0]["object"]["metadata"]["resourceVersion"]
            assert (mark["type"], revision) == ("BOOKMARK", str(registry.revision))


async def test_who_does_not_read_is_cut_off_when_its_time_is_up(client, server, registry):
    await put_20_mb(registry)
    with socket.socket() as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(slow, ("127.0.0.1", server.port))
        await loop.sock_sendall(
            slow, f"GET {SERVICES}?watch=1&timeoutSeconds=1 HTTP/1.1\r\nHost: x\r\n\r\n".encode()
        )
        await until(lambda: registry.watchers == 1)
        await until(lambda: registry.watchers == 0)
        tail = b""
        while received := await asyncio.wait_for(loop.sock_recv(slow, 1 << 20), GUARD_SECONDS):
            tail = (tail + received)[-5:]
        assert tail != b"0\r\n\r\n", "the stream was ended as if all had been sent"
    text = await (await client.get("/metrics")).text()
    assert "svcdns_api_watches_cut_total 1.0" in text


async def test_changes_of_other_kinds_are_not_seen(client, registry):
    async with client.get(f"{SERVICES}?watch=1") as answer:
        await event(answer)
        await registry.put(POD, "shop", pod("p"))
        await put(registry, "db")
        assert (await event(answer))["object"]["metadata"]["name"] == "db"


async def test_a_hundred_watchers_see_one_change(client, registry):
    client.session.connector._limit = 0
    url = f"{SERVICES}?watch=1&resourceVersion={registry.revision}"
    answers = await asyncio.gather(*(client.get(url) for _ in range(100)))
    await put(registry, "db")
    seen = await asyncio.gather(*(event(answer) for answer in answers))
    assert {found["object"]["metadata"]["name"] for found in seen} == {"db"}
    for answer in answers:
        answer.close()
    with pytest.raises((ClientConnectionError, ClientPayloadError)):
        await answers[0].content.readline()
    await until(lambda: registry.watchers == 0)
