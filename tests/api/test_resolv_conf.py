"""GET /resolv.conf: the file for a container, over HTTP."""

import pytest

from svcdns.api.client_resolv_conf import text
from svcdns.config.sections import Config, DnsConfig, Endpoint

V4, V6 = Endpoint("192.0.2.53", 53), Endpoint("2001:db8::53", 53)


@pytest.fixture
def options(tmp_path):
    dns = DnsConfig(listen=(V4, V6, Endpoint("127.0.0.1", 53)))
    return {"config": Config(cluster_domain="corp.example", data=tmp_path, dns=dns)}


async def test_the_file_of_a_namespace(client):
    answer = await client.get("/resolv.conf?namespace=shop")
    assert (answer.status, answer.headers["Content-Type"]) == (200, "text/plain; charset=utf-8")
    assert await answer.text() == text([V4, V6], "shop", "corp.example")


async def test_what_is_not_said_has_a_default(client):
    assert await (await client.get("/resolv.conf")).text() == text([V4, V6], "default", "corp.example")


@pytest.mark.parametrize("ndots", [0, 1, 15])
async def test_ndots(client, ndots):
    answer = await client.get(f"/resolv.conf?namespace=nobody-has-it&ndots={ndots}")
    assert await answer.text() == text([V4, V6], "nobody-has-it", "corp.example", ndots)


async def test_head(client):
    answer = await client.head("/resolv.conf?namespace=shop")
    assert (answer.status, await answer.read()) == (200, b"")
    assert answer.content_length == len(text([V4, V6], "shop", "corp.example"))
    assert (await client.head("/resolv.conf?namespace=-")).status == 400


@pytest.mark.parametrize(
    ("query", "field", "expected"),
    [
        ("namespace=Shop", "namespace", "namespace: 'Shop' is no namespace; allowed: 1 to 63 lower-case"),
        ("namespace=", "namespace", "namespace: '' is no namespace"),
        ("namespace=a.b", "namespace", "namespace: 'a.b' is no namespace"),
        ("namespace=a%0Anameserver", "namespace", "is no namespace"),
        ("namespace=" + "a" * 64, "namespace", "is no namespace"),
        ("namespace=a%0A", "namespace", "is no namespace"),
        ("ndots=16", "ndots", "ndots: '16' is out of range; allowed: 0..15"),
        ("ndots=-1", "ndots", "ndots: '-1' is out of range; allowed: 0..15"),
        ("ndots=", "ndots", "ndots: '' is out of range; allowed: 0..15"),
        ("ndots=%D9%A5", "ndots", "is out of range; allowed: 0..15"),
        ("ndots=" + "9" * 5000, "ndots", "is out of range; allowed: 0..15"),
    ],
)
async def test_a_mistake_names_its_parameter(client, query, field, expected):
    answer = await client.get(f"/resolv.conf?{query}")
    status = await answer.json()
    assert (answer.status, status["kind"], status["reason"]) == (400, "Status", "BadRequest")
    assert expected in status["message"]
    assert [cause["field"] for cause in status["details"]["causes"]] == [field]


async def test_other_methods(client):
    answer = await client.post("/resolv.conf")
    assert (answer.status, answer.headers["Allow"]) == (405, "GET, HEAD")


async def test_it_is_listed(client):
    assert "/resolv.conf" in (await (await client.get("/")).json())["paths"]


class TestWildcard:
    @pytest.fixture
    def options(self, tmp_path):
        listen = (Endpoint("0.0.0.0", 53),)
        dns = DnsConfig(listen=listen, advertise_addresses=("192.0.2.7",))
        return {"config": Config(data=tmp_path, dns=dns)}

    async def test_loopback_is_no_address_for_others(self, client):
        answer = await client.get("/resolv.conf")  # this test reaches it at 127.0.0.1
        assert "\nnameserver 192.0.2.7\n" in await answer.text()


class TestWildcardOfNoKnownAddress:
    @pytest.fixture
    def options(self, tmp_path):
        return {"config": Config(data=tmp_path, dns=DnsConfig(listen=(Endpoint("0.0.0.0", 53),)))}

    async def test_it_says_by_what_an_address_is_named(self, client):
        answer = await client.get("/resolv.conf")  # this test reaches it at 127.0.0.1
        remedy = "say which one containers reach, by advertise_addresses in [dns]."
        assert f"# svcdns listens on all addresses: {remedy}\nnameserver 127.0.0.1\n" in await answer.text()
