"""Lookup: what a name answers, as dig prints it, where that comes from, and what the search list tries."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from console.conftest import Looking
from playwright.sync_api import expect
from toolbox.builders import service
from toolbox.console_front import ConsoleFront
from toolbox.running_server import RunningServer

pytestmark = pytest.mark.alone  # a browser drops what it has under way when an interface comes or goes
Look = Callable[..., Looking]
ZONE = """\
$ORIGIN corp.example.
$TTL 60
@ IN SOA ns hostmaster 1 7200 1800 86400 60
@ IN NS ns
ns IN A 192.0.2.1
intranet IN A 192.0.2.7
"""


@pytest.fixture(scope="module")
def zoned(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ConsoleFront]:
    """Give a server with a zone file and an upstream that is not there."""
    folder: Path = tmp_path_factory.mktemp("zones")
    (folder / "corp.example.zone").write_text(ZONE)
    config = f'[dns]\nzones = "{folder}"\n[forward]\nupstreams = ["127.0.0.1:9"]\n'
    with RunningServer(workers=1, config=config) as server, ConsoleFront(server.api) as front:
        assert server.post("/api/v1/namespaces/default/services", service("web")).status == 201
        yield front


def test_the_form_asks_as_it_says(look: Look, zoned: ConsoleFront) -> None:
    looking = look(zoned)
    page = looking.go("lookup")
    page.get_by_label("Name", exact=True).fill("web")
    page.get_by_label("Type").select_option("SRV")
    page.get_by_label("search list").check()
    page.get_by_role("button", name="Look up").click()
    answer = page.get_by_role("region", name="What it answers now")
    expect(answer).to_contain_text(
        "web.default.svc.cluster.local. 5 IN SRV 0 100 80 web.default.svc.cluster.local."
    )
    expect(page.get_by_role("region", name="Names that were tried").get_by_role("row")).to_have_count(2)
    expect(page.get_by_text("own registry").first).to_be_visible()
    expect(page.get_by_text("svcdns why web -n default --type SRV")).to_be_visible()
    assert "type=SRV" in page.url and "search=1" in page.url
    assert looking.mistakes == []


def test_a_zone_file_is_named_with_its_line(look: Look, zoned: ConsoleFront) -> None:
    page = look(zoned).go("lookup?name=intranet.corp.example.")
    expect(page.get_by_text("corp.example.zone:6")).to_be_visible()
    expect(page.get_by_text("zone file").first).to_be_visible()


def test_who_would_be_asked_is_named_and_nobody_is_asked(look: Look, zoned: ConsoleFront) -> None:
    page = look(zoned).go("lookup?name=www.example.org.")
    expect(page.get_by_text("127.0.0.1:9").first).to_be_visible()
    page = look(zoned).go("upstreams")
    row = page.get_by_role("row").filter(has_text="127.0.0.1:9")
    expect(row.get_by_role("cell").nth(3)).to_have_text("0")


def test_a_client_that_is_no_address_is_told_so(look: Look, zoned: ConsoleFront) -> None:
    page = look(zoned).page
    page.goto(f"{zoned.url}#/lookup?name=web&client=nobody")
    expect(page.get_by_role("alert")).to_contain_text("client: must be an address")
