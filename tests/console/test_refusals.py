"""Where the API is away, asks who it is, or refuses: the page says so, and goes on by itself."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from console.conftest import Looking
from playwright.sync_api import expect
from toolbox.builders import service
from toolbox.console_front import ConsoleFront
from toolbox.running_server import RunningServer, svcdns

pytestmark = pytest.mark.alone  # a browser drops what it has under way when an interface comes or goes
Look = Callable[..., Looking]


@pytest.fixture
def own_front(registered: RunningServer) -> Iterator[ConsoleFront]:
    with ConsoleFront(registered.api) as running:
        yield running


def test_an_api_that_is_away_leaves_the_data_and_says_since_when(look: Look, own_front: ConsoleFront) -> None:
    page = look(own_front).go("services?q=web")
    own_front.down = True
    expect(page.get_by_role("alert")).to_contain_text("has not answered since")
    expect(page.locator("main.old").get_by_role("link", name="web")).to_be_visible()
    own_front.down = False
    expect(page.get_by_role("alert")).to_have_count(0)
    expect(page.locator("main.old")).to_have_count(0)


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[tuple[ConsoleFront, str]]:
    """Give a server that wants tokens, below a path of its own, and one that is good."""
    tokens = tmp_path / "tokens"
    made = svcdns("token", "create", "--file", tokens, "--name", "ann", "--role", "edit")
    token = made.stdout.strip()
    with (
        RunningServer(workers=1, config=f'[api]\ntokens = "{tokens}"\n') as server,
        ConsoleFront(server.api, prefix="/dns") as running,
    ):
        bearer = {"Authorization": f"Bearer {token}"}
        made_web = server.request(
            "POST", "/api/v1/namespaces/default/services", service("web"), headers=bearer
        )
        assert made_web.status == 201, made_web.text
        yield running, token


def test_who_must_log_in_comes_back_to_where_he_was(look: Look, guarded: tuple[ConsoleFront, str]) -> None:
    own_front, token = guarded
    page = look(own_front).page
    page.goto(f"{own_front.url}#/services?q=web")
    page.get_by_label("Token").fill("wrong")
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("alert")).to_contain_text("not accepted")
    page.get_by_label("Token").fill(token)
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("link", name="web", exact=True)).to_be_visible()
    assert page.url == f"{own_front.url}#/services?q=web"
    assert page.evaluate("document.cookie + JSON.stringify({...localStorage})") == "{}"
    page.reload()
    expect(page.get_by_role("link", name="web", exact=True)).to_be_visible()
    page.get_by_role("button", name="Log out ann").click()
    expect(page.get_by_label("Token")).to_be_visible()


def test_without_javascript_there_are_services_and_a_lookup(
    look: Look, guarded: tuple[ConsoleFront, str]
) -> None:
    front, token = guarded
    page = look(front, java_script_enabled=False).page
    page.goto(front.url)
    page.get_by_role("link", name="without JavaScript").click()
    page.get_by_label("Token").fill(token)
    page.get_by_role("button", name="Log in").click()
    page.get_by_role("link", name="web", exact=True).click()
    expect(page.get_by_role("heading", level=2)).to_have_text("web.default.svc.cluster.local.")
    page.get_by_label("Name", exact=True).fill("<b>x</b>")
    page.get_by_role("button", name="Look up").click()
    expect(page.get_by_text("<b>x</b>", exact=False).first).to_be_visible()
    assert page.locator("b").count() == 0


def test_a_page_that_was_not_loaded_whole_says_what_to_do(look: Look, own_front: ConsoleFront) -> None:
    page = look(own_front).page
    page.route("**/parts.js", lambda route: route.abort("failed"))
    page.goto(f"{own_front.url}#/services")
    expect(page.get_by_text("reload the page")).to_be_visible()
    page.unroute("**/parts.js")
    page.reload()
    expect(page.get_by_role("link", name="web", exact=True)).to_be_visible()
    expect(page.get_by_text("reload the page")).to_have_count(0)


def test_a_lookup_that_got_no_answer_is_tried_again(look: Look, own_front: ConsoleFront) -> None:
    page = look(own_front).page
    page.route("**/svcdns/v1/explain*", lambda route: route.abort("failed"), times=1)
    page.goto(f"{own_front.url}#/lookup?name=web.default.svc")
    expect(page.get_by_role("region", name="What it answers now")).to_contain_text("10.96.")


def test_the_api_without_credentials_asks_for_no_login(look: Look) -> None:
    expect(look().go("services").get_by_label("Token")).to_have_count(0)


def test_a_refusal_names_the_right_and_leaves_the_rest(look: Look, own_front: ConsoleFront) -> None:
    own_front.forbidden = {"/svcdns/v1/status"}
    page = look(own_front).go("overview")
    expect(page.get_by_role("alert")).to_contain_text("you may not list /svcdns/v1/status")
    expect(page.get_by_role("region", name="Events")).to_be_visible()


def test_a_revision_that_is_too_old_reloads_in_silence(look: Look, own_front: ConsoleFront) -> None:
    looking = look(own_front)
    gone = '{"type": "ERROR", "object": {"code": 410, "message": "too old"}}\n'
    looking.page.route("**/svcdns/v1/stream*", lambda route: route.fulfill(body=gone), times=1)
    page = looking.go("services")
    expect(page.get_by_role("link", name="web", exact=True)).to_be_visible()
    expect(page.get_by_role("alert")).to_have_count(0)


def test_a_server_that_records_nothing_says_how_to_begin(look: Look) -> None:
    with (
        RunningServer(workers=1, config='[tap]\nrecord = "never"\n') as server,
        ConsoleFront(server.api) as front,
    ):
        page = look(front).go("queries")
        expect(page.get_by_text('record = "on_demand"')).to_be_visible()
