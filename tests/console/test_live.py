"""What changes is seen at once, in one stream of a tab; many tabs leave connections for the next one."""

from collections.abc import Callable
from typing import Any

import pytest
from console.conftest import Looking, add
from playwright.sync_api import expect
from toolbox.builders import pod, ready_condition, service
from toolbox.console_front import ConsoleFront
from toolbox.running_server import RunningServer
from toolbox.waiting import wait_for

pytestmark = pytest.mark.alone  # a browser drops what it has under way when an interface comes or goes
Look = Callable[..., Looking]


def test_readiness_that_changes_changes_the_row(
    look: Look, front: ConsoleFront, registered: RunningServer
) -> None:
    add(registered, service("live"), pod("live-1", "10.1.1.1", app="live", ready=True))
    page = look().go("services?q=live")
    row = page.get_by_role("row").filter(has_text="live")
    expect(row).to_contain_text("1/1")
    conditions = {"status": {"conditions": [ready_condition(False)]}}
    said = registered.patch("/api/v1/namespaces/default/pods/live-1/status", conditions)
    assert said.status == 200, said.text
    assert front.streams >= 1, "a tab that is told what changes has no need to ask"
    expect(row).to_contain_text("0/1")


def test_the_filter_stands_in_the_url(look: Look) -> None:
    page = look().go("services")
    page.get_by_label("Filter").fill("web")
    expect(page.get_by_role("row")).to_have_count(2)
    page.get_by_label("not ready").check()
    assert page.url.endswith("#/services?q=web&notready=1")
    page.reload()
    expect(page.get_by_role("row")).to_have_count(2)
    page.get_by_label("no endpoints").check()
    expect(page.get_by_role("row")).to_have_count(1)


def test_eight_tabs_are_open_and_the_ninth_loads(look: Look, front: ConsoleFront) -> None:
    wait_for(lambda: front.streams == 0, "the streams of other tests to end")
    first = look()
    first.go("services")
    for _ in range(7):
        first.page = first.page.context.new_page()
        first.go("services")
    first.page = first.page.context.new_page()
    ninth = first.go("services/default/web")
    expect(ninth.get_by_text("_http._tcp.web.default.svc.cluster.local")).to_be_visible()
    assert front.streams <= 4
    first.page.context.close()
    wait_for(lambda: front.streams == 0, "the streams of closed tabs to end")


def test_a_tab_that_gets_no_stream_asks_again_and_again(look: Look, front: ConsoleFront) -> None:
    front.refuse_streams = True
    try:
        page = look().go("services?q=web")
        expect(page.get_by_role("row").filter(has_text="web")).to_contain_text("1/2")
    finally:
        front.refuse_streams = False


def test_a_tab_that_is_hidden_for_30_seconds_lets_go_of_its_stream(look: Look, front: ConsoleFront) -> None:
    wait_for(lambda: front.streams == 0, "the streams of other tests to end")
    looking = look()
    looking.page.clock.install()
    page = looking.go("services")
    wait_for(lambda: front.streams == 1, "the stream")
    _hide(page, True)
    page.clock.run_for(29_000)
    assert front.streams == 1
    page.clock.run_for(2_000)
    wait_for(lambda: front.streams == 0, "the hidden tab's stream to end")
    _hide(page, False)
    wait_for(lambda: front.streams == 1, "the stream of the tab that is shown again")


def test_ten_thousand_services_are_listed_and_filtered(look: Look, front: ConsoleFront) -> None:
    looking = look()
    looking.page.route("**/svcdns/v1/stream*", lambda route: route.fulfill(body=_lines(10_000)))
    page = looking.go("services")
    expect(page.get_by_text("10000 Services", exact=True).first).to_be_visible()
    assert page.get_by_role("row").count() < 100, "rows that nobody sees are made"
    begun = page.evaluate("performance.now()")
    page.get_by_label("Filter").fill("s-9999")
    expect(page.get_by_role("row")).to_have_count(2)
    assert page.evaluate("performance.now()") - begun < 20_000
    page.get_by_label("Filter").fill("")
    page.get_by_role("region", name="Services").evaluate("box => box.scrollTop = box.scrollHeight")
    expect(page.get_by_role("link", name="s-9999", exact=True)).to_be_visible()


def _lines(count: int) -> str:
    import json

    def line(number: int) -> str:
        one: Any = service(f"s-{number:04}", clusterIP="10.96.1.1", type="ClusterIP")
        one["metadata"] |= {"namespace": "default", "creationTimestamp": "2026-01-31T12:00:00Z"}
        return json.dumps({"kind": "services", "type": "ADDED", "object": one})

    synced = json.dumps({"type": "SYNCED", "object": {"metadata": {"resourceVersion": "1"}}})
    return "\n".join([*map(line, range(count)), synced, ""])


def _hide(page: Any, hidden: bool) -> None:
    word = "true" if hidden else "false"
    page.evaluate(
        f"Object.defineProperty(document, 'hidden', {{configurable: true, get: () => {word}}});"
        "document.dispatchEvent(new Event('visibilitychange'))"
    )
