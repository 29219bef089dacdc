"""GET /svcdns/v1/stats and /svcdns/v1/queries where there is nothing to see."""

import pytest


@pytest.mark.parametrize("path", ["/svcdns/v1/stats", "/svcdns/v1/queries", "/svcdns/v1/queries?follow=1"])
async def test_a_server_that_never_records_says_so(client, path):
    answer = await client.get(path)
    assert answer.status == 503
    assert "never" in (await answer.json())["message"]


@pytest.mark.parametrize("method", ["POST", "DELETE", "PUT"])
async def test_nothing_is_written_there(client, method):
    assert (await client.request(method, "/svcdns/v1/stats")).status == 405
