"""Somebody whose Pod is not in DNS finds out why from the page, by the keyboard alone too."""

from collections.abc import Callable

import pytest
from console.conftest import Looking, add
from playwright.sync_api import expect
from toolbox.builders import pod, ready_condition, service
from toolbox.running_server import RunningServer

pytestmark = pytest.mark.alone  # a browser drops what it has under way when an interface comes or goes
Look = Callable[..., Looking]


def test_a_label_that_differs(look: Look, registered: RunningServer) -> None:
    add(registered, service("shop"), pod("shop-1", "10.1.3.1", app="shopp"))
    page = look().go("pods?alone=1")
    page.get_by_role("link", name="shop-1").click()
    expect(page.locator("main")).to_contain_text("app=shopp")
    expect(page.locator("main")).to_contain_text("in no Service")
    page.go_back()
    page = look().go("services?empty=1&q=shop")
    page.get_by_role("link", name="shop", exact=True).click()
    expect(page.get_by_text("Reasons").locator("..")).to_contain_text("shop-1")


def test_a_condition_of_readiness(look: Look, registered: RunningServer) -> None:
    one = pod("disk-1", "10.1.3.2", app="disk")
    one["status"]["conditions"] = [ready_condition(False) | {"reason": "DiskFull", "message": "swap it"}]
    add(registered, service("disk"), one)
    page = look().go("services?notready=1&q=disk")
    page.get_by_role("link", name="disk", exact=True).click()
    expect(page.get_by_role("cell", name="DiskFull: swap it")).to_be_visible()


def test_an_annotation_that_holds_it_back(look: Look, registered: RunningServer) -> None:
    one = pod("held-1", "10.1.3.3", app="held", ready=True)
    one["metadata"]["annotations"] = {"svcdns.io/ready": "false"}
    add(registered, service("held"), one)
    page = look().go("pods?notready=1&q=held")
    page.get_by_role("link", name="held-1").click()
    expect(page.locator("main")).to_contain_text("NotReadyByAnnotation")


def test_the_keyboard_is_enough(look: Look) -> None:
    looking = look()
    page = looking.go("overview")

    def press_until(name: str) -> None:
        for _ in range(40):
            page.keyboard.press("Tab")
            if name in page.evaluate("(document.activeElement.closest('a, button') ?? {}).textContent ?? ''"):
                return
        raise AssertionError(f"the keyboard does not come to {name}")

    press_until("Skip to the content")
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "content"
    page = looking.go("services?q=web")
    page.get_by_label("Filter").focus()
    press_until("web")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_contain_text("default/web")
    press_until("copy")
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid", "the focus is not seen"
    page.keyboard.press("Enter")
    expect(page.get_by_text("copied")).to_be_visible()
