"""Waiting until the traffic does what was acknowledged: proxies say how far they are, clients wait."""

import asyncio
from typing import Any

import pytest
from toolbox.builders import service

from svcdns.api import proxies, proxies_route
from svcdns.objects.kinds import SERVICE

SERVICES = "/api/v1/namespaces/shop/services"
WEB = f"{SERVICES}/web"
MERGE = {"Content-Type": "application/merge-patch+json"}


def held(registry: Any) -> dict[str, int]:
    """Return what a proxy has that is up to date."""
    return {kind.plural: registry.last_change(kind) for kind in proxies.FOLLOWED}


def report(client: Any, node: str, has: dict[str, int]) -> "asyncio.Task[tuple[int, Any]]":
    """Send a proxy's report; the task ends when it is answered."""

    async def send() -> tuple[int, Any]:
        async with client.post(f"/svcdns/v1/proxies/{node}", params=has) as answer:
            return answer.status, await answer.json()

    return asyncio.ensure_future(send())


async def seen(client: Any, *nodes: str) -> None:
    """Return once the server knows of these proxies."""
    while True:
        async with client.get("/svcdns/v1/wait?seconds=0") as answer:
            text = await answer.text()
            if all(node in text for node in nodes):
                return


def annotate(client: Any, value: str, wait: str) -> "asyncio.Task[tuple[int, list[str]]]":
    """Change the Service, and wait for the proxies; the task returns the status and the warnings."""

    async def send() -> tuple[int, list[str]]:
        body = {"metadata": {"annotations": {"a": value}}}
        headers = MERGE | {"Svcdns-Wait": wait}
        async with client.patch(WEB, json=body, headers=headers) as answer:
            return answer.status, answer.headers.getall("Warning", [])

    return asyncio.ensure_future(send())


async def test_a_write_is_answered_when_every_proxy_has_it(client, registry) -> None:
    reports = [report(client, node, held(registry)) for node in ("alpha", "beta")]
    await seen(client, "alpha", "beta")
    write = annotate(client, "1", "proxies=30")
    for told in reports:
        status, wanted = await told
        assert (status, wanted) == (200, held(registry)), "each is told what somebody waits for"
    report(client, "alpha", held(registry))
    await seen(client, "alpha")
    assert not write.done(), "b has not got it yet"
    report(client, "beta", held(registry))
    assert await write == (200, [])


async def test_a_proxy_that_is_behind_is_named_and_the_write_has_succeeded(client, registry) -> None:
    report(client, "slow", held(registry))
    await seen(client, "slow")
    status, warnings = await annotate(client, "1", "proxies=0.05")
    assert status == 200
    assert warnings == ['299 - "the traffic does not follow yet, after 0.05 s: the proxy on slow is behind"']
    assert registry.stored(SERVICE, "shop", "web")["metadata"]["annotations"] == {"a": "1"}


async def test_without_proxies_a_write_is_told_so_at_once(client) -> None:
    assert await annotate(client, "1", "proxies=30") == (
        200,
        ['299 - "Svcdns-Wait: no proxy follows this server"'],
    )


async def test_a_wait_of_its_own(client, registry) -> None:
    async with client.get("/svcdns/v1/wait") as answer:
        assert (answer.status, (await answer.json())["message"]) == (
            503,
            "no proxy follows this server; see svcdns proxy --help",
        )
    report(client, "alpha", held(registry))
    await seen(client, "alpha")
    async with client.get("/svcdns/v1/wait?for=proxies&seconds=30") as answer:
        assert (answer.status, await answer.json()) == (200, {"proxies": ["alpha"]})
    await registry.put(SERVICE, "shop", service(name="other"))
    async with client.get("/svcdns/v1/wait?seconds=0.01") as answer:
        assert answer.status == 504
        assert "the proxy on alpha is behind" in (await answer.json())["message"]


async def test_what_traffic_does_not_follow_from_is_not_waited_for(client, registry) -> None:
    report(client, "alpha", held(registry))
    await seen(client, "alpha")
    body = {"metadata": {"name": "another"}}
    async with client.post("/api/v1/namespaces", json=body, headers={"Svcdns-Wait": "proxies=30"}) as answer:
        assert (answer.status, answer.headers.getall("Warning", [])) == (201, [])


async def test_a_refused_write_waits_for_nobody(client, registry) -> None:
    report(client, "alpha", dict.fromkeys(held(registry), 0))
    await seen(client, "alpha")
    async with client.post(SERVICES, json={}, headers={"Svcdns-Wait": "proxies=30"}) as answer:
        assert answer.status == 422
        assert "Warning" not in answer.headers


async def test_a_proxy_is_asked_once_for_the_same(client, registry) -> None:
    """One that can't get further must not be asked again and again."""
    nothing = dict.fromkeys(held(registry), 0)
    first = report(client, "alpha", nothing)
    await seen(client, "alpha")
    assert (await first)[1] == held(registry)
    again = report(client, "alpha", nothing)
    await seen(client, "alpha")
    await seen(client, "alpha")
    assert not again.done()


async def test_a_proxy_that_is_gone_is_not_waited_for(client, registry, monkeypatch) -> None:
    monkeypatch.setattr(proxies, "GRACE", 0.0)
    gone = report(client, "alpha", held(registry))
    await seen(client, "alpha")
    gone.cancel()
    while True:
        async with client.get("/svcdns/v1/wait?seconds=0") as answer:
            if answer.status == 503:
                return


@pytest.mark.parametrize(
    "wait", ["", "dns", "proxies=", "proxies=x", "proxies=-1", "proxies=61", "proxies=1e3"]
)
async def test_a_header_that_means_nothing_is_refused_before_anything_is_written(
    client, registry, wait
) -> None:
    assert (await annotate(client, "1", wait))[0] == 400
    assert not registry.calls


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("/svcdns/v1/proxies/a", "services"),
        ("/svcdns/v1/proxies/a?services=1", "endpointslices"),
        ("/svcdns/v1/proxies/a?services=-1&endpointslices=1", "services"),
        ("/svcdns/v1/proxies/a?services=1&endpointslices=" + "9" * 19, "endpointslices"),
        ("/svcdns/v1/proxies/A_B?services=1&endpointslices=1", "node"),
        (f"/svcdns/v1/proxies/{'a' * 254}?services=1&endpointslices=1", "node"),
    ],
)
async def test_reports_that_say_nothing(client, path, field) -> None:
    async with client.post(path) as answer:
        assert answer.status == 400
        assert [cause["field"] for cause in (await answer.json())["details"]["causes"]] == [field]


async def test_the_other_methods_are_named(client) -> None:
    async with client.post("/svcdns/v1/proxies/") as answer:
        assert answer.status == 404
    async with client.get("/svcdns/v1/proxies/a") as answer:
        assert (answer.status, answer.headers["Allow"]) == (405, "POST")
    async with client.post("/svcdns/v1/wait") as answer:
        assert (answer.status, answer.headers["Allow"]) == (405, "GET, HEAD")


async def status(client: Any) -> list[dict[str, Any]]:
    async with client.get("/svcdns/v1/status") as answer:
        assert answer.status == 200
        return list((await answer.json())["proxies"])


async def test_status_says_which_are_there_by_what_they_carry_and_who_is_behind(client, registry) -> None:
    assert await status(client) == []
    now = held(registry)
    told = report(client, "alpha", {**now, "engine": "nft", "carries": 7})
    await seen(client, "alpha")
    report(client, "beta", {**now, "services": now["services"] - 3})
    await seen(client, "beta")
    alpha, beta = await status(client)
    assert alpha == {"node": "alpha", "state": "ready", "engine": "nft", "services": 7, "behind": 0}
    assert beta == {"node": "beta", "state": "ready", "engine": "", "services": None, "behind": 3}
    assert not told.done(), "who has all is not asked"


@pytest.mark.parametrize(
    "wrong", [{"engine": "A B"}, {"engine": "x" * 17}, {"carries": "-1"}, {"carries": "x"}]
)
async def test_what_a_proxy_says_of_itself_is_checked(client, registry, wrong: dict[str, str]) -> None:
    code, body = await report(client, "alpha", {**held(registry), **wrong})
    assert (code, *wrong) == (400, body["details"]["causes"][0]["field"])


async def test_too_many_proxies(client, registry, monkeypatch) -> None:
    monkeypatch.setattr(proxies, "MOST", 1)
    report(client, "alpha", held(registry))
    await seen(client, "alpha")
    status, body = await report(client, "beta", held(registry))
    assert (status, body["message"]) == (429, "too many proxies are connected")


async def test_a_report_nobody_wants_more_of_is_answered_in_the_end(client, registry, monkeypatch) -> None:
    monkeypatch.setattr(proxies_route, "HELD_SECONDS", 0.01)
    assert await report(client, "alpha", held(registry)) == (200, {})


def test_the_server_does_not_wait_for_them_when_it_stops(loop, server, client, registry) -> None:
    async def stop() -> None:
        waiting = report(client, "alpha", held(registry))
        await seen(client, "alpha")
        await server.close()
        status, wanted = await waiting
        assert (status, wanted) == (200, {})

    loop.run_until_complete(asyncio.wait_for(stop(), 60))
