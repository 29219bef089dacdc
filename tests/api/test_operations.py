"""Health, metrics, the access log."""

import logging

from aiohttp.test_utils import make_mocked_request
from toolbox.builders import service

from svcdns.api.access_log import AccessLogger
from svcdns.api.app import create_runner
from svcdns.api.metrics import ApiMetrics

SERVICES = "/api/v1/namespaces/shop/services"


async def test_ready(client):
    for path in ("/livez", "/readyz", "/healthz"):
        answer = await client.get(path)
        assert (answer.status, await answer.text()) == (200, "ok")
        assert (await client.head(path)).status == 200


async def test_not_ready(client, health):
    health.reasons = ["manifests: not loaded yet", "dns worker 1: not running"]
    for path in ("/readyz", "/healthz"):
        answer = await client.get(path)
        text = await answer.text()
        assert answer.status == 503
        assert "manifests: not loaded yet" in text and "dns worker 1: not running" in text
    assert (await client.get("/livez")).status == 200


async def test_verbose(client):
    assert await (await client.get("/readyz?verbose")).text() == "[+]ping ok\nreadyz check passed\n"


async def test_requests_are_counted_by_verb_resource_and_code(client):
    await client.get(f"{SERVICES}/web")
    await client.get(f"{SERVICES}/nope")
    await client.get(SERVICES)
    await client.post(SERVICES, json=service("db"))
    await client.delete(SERVICES)
    await client.put(f"{SERVICES}/web/status", data=b"{")
    await client.get("/nothing/at/all")
    answer = await client.get("/metrics")
    assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    text = await answer.text()
    for labels in (
        '{code="200",resource="services",verb="get"}',
        '{code="404",resource="services",verb="get"}',
        '{code="200",resource="services",verb="list"}',
        '{code="201",resource="services",verb="create"}',
        '{code="200",resource="services",verb="deletecollection"}',
        '{code="415",resource="services/status",verb="update"}',
        '{code="404",resource="",verb="get"}',
    ):
        assert f"svcdns_api_requests_total{labels} 1.0" in text, labels
    assert 'svcdns_api_request_duration_seconds_count{resource="services",verb="list"} 1.0' in text


def test_counters_may_be_left_out(registry):
    from svcdns.api.app import create_app

    assert create_app(registry, health=list, metrics=lambda: (b"", "text/plain"), version="1")


class Response:
    status, body_length = 200, 5


def test_probes_leave_no_line_in_the_access_log(caplog):
    logger = AccessLogger(logging.getLogger("aiohttp.access"), "")
    with caplog.at_level(logging.INFO, "aiohttp.access"):
        for path in ("/metrics", "/livez", "/readyz", "/healthz/"):
            logger.log(make_mocked_request("GET", path), Response(), 0.001)
        assert not caplog.records
        request = make_mocked_request("GET", "/api/v1/pods?limit=5", headers={"User-Agent": "x\ny"})
        logger.log(request, Response(), 0.0015)
    [record] = caplog.records
    assert "GET /api/v1/pods?limit=5 200 5 1.5ms 'x\\ny'" in record.message


async def test_the_runner_serves(server, client):
    assert create_runner(server.app) is not None


def test_metrics_have_fixed_names(collectors):
    counters = ApiMetrics(collectors)
    counters.answered("get", "pods", 200, 0.1)
    names = {metric.name for metric in collectors.collect()}
    assert names == {
        "svcdns_api_requests",
        "svcdns_api_request_duration_seconds",
        "svcdns_api_watches",
        "svcdns_api_watches_cut",
    }
