"""Names, labels, messages and questions of strangers are text: no element comes of it, no direction turns."""

from collections.abc import Callable

import dns.message
import dns.name
import dns.query
import pytest
from console.conftest import Looking, add
from playwright.sync_api import expect
from toolbox.builders import pod, service
from toolbox.running_server import RunningServer
from toolbox.waiting import GUARD_SECONDS

pytestmark = pytest.mark.alone  # a browser drops what it has under way when an interface comes or goes
Look = Callable[..., Looking]
IMAGE = "<img src=x onerror=document.title='taken'>"
TURNED = "abc\u202edcba\u0007"


def test_what_objects_say_is_shown_as_text(look: Look, registered: RunningServer) -> None:
    odd = service("odd")
    odd["metadata"]["annotations"] = {"note": IMAGE + TURNED}
    one = pod("odd-1", "10.1.2.1", app="odd")
    one["status"]["conditions"] = [
        {"type": "Ready", "status": "False", "reason": "Broken", "message": IMAGE + TURNED}
    ]
    event = {
        "kind": "Event",
        "apiVersion": "v1",
        "metadata": {"name": "odd.1", "namespace": "default"},
        "involvedObject": {"kind": "Service", "namespace": "default", "name": "odd"},
        "reason": "<b>Odd</b>",
        "message": f"said {IMAGE}{TURNED}",
        "type": "Normal",
        "lastTimestamp": "2030-01-01T00:00:00Z",
    }
    add(registered, odd, one, event)
    looking = look()
    page = looking.go("services/default/odd")
    expect(page.get_by_text(f"said {IMAGE}abc\\u{{202e}}dcba\\x07")).to_be_visible()
    expect(page.get_by_role("cell", name="<b>Odd</b>")).to_be_visible()
    page.get_by_text("YAML", exact=True).click()
    expect(page.get_by_role("region", name="YAML")).to_contain_text(IMAGE)
    page = looking.go("pods?q=odd")
    expect(page.get_by_text(IMAGE)).to_be_visible()
    _nothing_came_of_it(looking)


def test_what_is_asked_is_shown_as_text(look: Look, registered: RunningServer) -> None:
    looking = look()
    page = looking.go("queries")
    name = dns.name.Name([IMAGE.encode(), b"\x1b[31m\x00\xe2\x80\xae", b"cluster", b"local", b""])
    message = dns.message.make_query(name, "A")
    host, port = registered.dns

    def asked() -> None:
        dns.query.udp(message, host, port=port, timeout=GUARD_SECONDS)

    asked()
    shown = page.get_by_text("<img\\032src=x\\032onerror=", exact=False).first
    for _ in range(int(GUARD_SECONDS * 10)):  # recording begins a moment after somebody looks
        asked()
        if shown.is_visible():
            break
        page.wait_for_timeout(100)
    expect(shown).to_be_visible()
    _nothing_came_of_it(looking)


def test_what_a_url_says_is_shown_as_text(look: Look) -> None:
    looking = look()
    looking.go("services/default/%3Cimg%20src=x%20onerror=document.title='taken'%3E")
    looking.go("services/%E0%A4%A/x")
    looking.go("constructor")
    looking.go("lookup?name=%3Cscript%3Ealert(1)%3C%2Fscript%3E")
    assert looking.page.locator("img, script:not([type=module])").count() == 0


def _nothing_came_of_it(looking: Looking) -> None:
    assert looking.page.locator("main img, main script, main b").count() == 0
    assert "taken" not in looking.page.title().split(" · ")
    assert "\u202e" not in looking.page.inner_text("body")
    assert looking.mistakes == []
