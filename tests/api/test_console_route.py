"""The console's files, and its page without JavaScript: what a browser is given and told."""

import gzip
import re

import pytest
from toolbox.builders import service

from svcdns.config.sections import Config
from svcdns.config.seeing import ConsoleConfig
from svcdns.console import files
from svcdns.objects.kinds import SERVICE

HTML = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
STRICT = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
}


async def test_a_browser_at_the_root_is_led_to_the_console_and_a_program_is_not(client):
    led = await client.get("/", headers=HTML, allow_redirects=False)
    assert (led.status, led.headers["Location"]) == (302, "console/")
    assert (await client.get("/")).content_type == "application/json"
    below = await client.get("/console", allow_redirects=False)
    assert (below.status, below.headers["Location"]) == (302, "console/")


async def test_every_file_comes_with_its_type_and_strict_headers(client):
    assert "app.js" in files.names()
    for name in files.names():
        got = await client.get(f"/console/{name}")
        assert got.status == 200, name
        assert await got.read() == (files.STATIC / name).read_bytes()
        assert STRICT.items() <= dict(got.headers).items()
        policy = got.headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'; ")
        assert "unsafe" not in policy and "frame-ancestors 'none'" in policy
        ending = name.rpartition(".")[2]
        wanted = {"html": "text/html", "css": "text/css", "js": "text/javascript", "mjs": "text/javascript"}
        assert got.content_type == wanted.get(ending, "text/plain")
        assert "Access-Control-Allow-Origin" not in got.headers


async def test_the_index_is_below_console_and_links_relatively(client):
    text = await (await client.get("/console/")).text()
    assert re.findall(r'(?:src|href)="(/|https?:)', text) == []
    assert "app.js" in text


async def test_a_file_is_compressed_for_who_takes_that_and_known_by_its_tag(client):
    client.session._auto_decompress = False
    got = await client.get("/console/app.js", headers={"Accept-Encoding": "gzip"})
    assert got.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(await got.read()) == (files.STATIC / "app.js").read_bytes()
    again = await client.get("/console/app.js", headers={"If-None-Match": got.headers["ETag"]})
    assert (again.status, await again.read()) == (304, b"")
    plain = await client.get("/console/app.js", headers={"Accept-Encoding": "identity"})
    assert "Content-Encoding" not in plain.headers


@pytest.mark.parametrize(
    "path",
    ["nothing.js", "../files.py", "..%2ffiles.py", "%2e%2e/files.py", "vendor", "vendor/", "app.js/", "%00"],
)
async def test_nothing_else_is_a_file(raw, path):
    client = await raw(
        f"GET /console/{path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode()
    )
    head = await client.reader.read()
    assert head.startswith(b"HTTP/1.1 404"), head[:100]


async def test_nothing_is_written_there(client):
    for method in ("POST", "PUT", "DELETE", "PATCH"):
        for path in ("/console/app.js", "/console/", "/console/plain"):
            answer = await client.request(method, path)
            assert (answer.status, answer.headers["Allow"]) == (405, "GET, HEAD")


class TestSwitchedOff:
    @pytest.fixture
    def options(self):
        return {"config": Config(console=ConsoleConfig(enabled=False))}

    async def test_there_is_no_console(self, client):
        for path in ("/console/", "/console/app.js", "/console/plain", "/console/session"):
            assert (await client.get(path)).status == 404
        assert (await client.get("/", headers=HTML)).content_type == "application/json"


async def test_the_plain_page_lists_services(client, registry):
    await registry.put(SERVICE, "bank", service("till", clusterIP="None"))
    text = await (await client.get("/console/plain")).text()
    assert (
        re.findall(r">(web|till|shop|bank|10\.96\.0\.7|None)<", text)
        == [
            *("bank", "till"),
            *("shop", "web"),
        ]
        or "10.96.0.7" in text
    )
    assert "till" not in await (await client.get("/console/plain?namespace=shop")).text()
    assert "There are none." in await (await client.get("/console/plain?namespace=other")).text()


async def test_the_plain_page_goes_on_where_it_ended(client, registry, monkeypatch):
    monkeypatch.setattr("svcdns.api.plain_page.ROWS", 1)
    await registry.put(SERVICE, "bank", service("till", clusterIP="None"))
    first = await (await client.get("/console/plain")).text()
    assert "till" in first and "web" not in first
    [more] = re.findall(r'href="(plain\?[^"]*continue[^"]*)"', first)
    second = await (await client.get(f"/console/{more.replace('&amp;', '&')}")).text()
    assert "web" in second and "till" not in second


async def test_the_plain_page_looks_up_and_says_what_is_wrong(client):
    found = await (await client.get("/console/plain?name=web.shop")).text()
    assert "web.shop.svc.cluster.local." in found and "Service shop/web" in found
    wrong = await client.get("/console/plain", params={"name": "a..b"})
    assert wrong.status == 400 and wrong.content_type == "text/html"
    odd = await client.get("/console/plain", params={"name": "<script>x\u202e</script>", "namespace": "\x07"})
    text = await odd.text()
    assert "<script>" not in text and "\u202e" not in text and "\\u{202e}" in text and "\\x07" in text
