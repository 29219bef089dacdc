"""What tests of the console share: a Chromium, a server with some objects, pages that report mistakes."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from toolbox.builders import pod, service
from toolbox.console_front import ConsoleFront
from toolbox.running_server import RunningServer
from toolbox.waiting import GUARD_SECONDS

playwright = pytest.importorskip(
    "playwright.sync_api", reason="playwright is not installed (PyPI: playwright)"
)

playwright.expect.set_options(timeout=GUARD_SECONDS * 1000)
ARGUMENTS = ("--no-sandbox", "--disable-dev-shm-usage")
"""Root has no sandbox; other tests fill /dev/shm, which a page would need."""
ARTEFACTS = Path(__file__).parents[2] / "build" / "console"
"""Screenshots of the last run."""


@pytest.fixture(scope="module")
def browser(need: Callable[..., str]) -> Iterator[Any]:
    """Give Debian's Chromium, one for all tests of a file.

    While it is there, its driver's loop runs in this thread, and no test can have one of its own.
    """
    program = need("chromium")
    with playwright.sync_playwright() as driver:
        running = driver.chromium.launch(
            executable_path=program, args=ARGUMENTS, timeout=2 * GUARD_SECONDS * 1000
        )
        yield running
        running.close()


@pytest.fixture(scope="module")
def registered() -> Iterator[RunningServer]:
    """Give a server with a Service that is fine, one without endpoints, one with a Pod that is not ready."""
    with RunningServer(workers=1, config='[tap]\nsample = 1\n[dns]\nzones = "none"\n') as server:
        add(server, service("web"), pod("web-1", "10.1.0.1"), pod("web-2", "10.1.0.2", ready=False))
        add(
            server,
            service("empty"),
            service("db", clusterIP="None"),
            pod("db-0", "10.1.0.9", app="db", hostname="db-0"),
        )
        yield server


def add(server: RunningServer, *objects: dict[str, Any], namespace: str = "default") -> None:
    for one in objects:
        said = server.post(f"/api/v1/namespaces/{namespace}/{one['kind'].lower()}s", one)
        assert said.status == 201, said.text


@pytest.fixture(scope="module")
def front(registered: RunningServer) -> Iterator[ConsoleFront]:
    with ConsoleFront(registered.api, prefix="/a/prefix") as running:
        yield running


class Looking:
    """A page, and all mistakes that the browser reports of it."""

    def __init__(self, context: Any, front: ConsoleFront) -> None:
        self._front = front
        context.set_default_timeout(GUARD_SECONDS * 1000)
        self.page = context.new_page()
        self.mistakes: list[str] = []
        self.failed: list[str] = []
        """Requests that got no answer; some are meant to."""
        self.page.on("console", lambda said: said.type == "error" and self.mistakes.append(said.text))
        self.page.on("pageerror", lambda error: self.mistakes.append(str(error)))
        self.page.on("crash", lambda _: self.mistakes.append("the page has crashed"))
        self.page.on("requestfailed", lambda one: self.failed.append(f"{one.url}: {one.failure}"))

    def go(self, view: str) -> Any:
        """Open a view, such as "services?q=web", and return the page once it shows data."""
        self.page.goto(f"{self._front.url}#/{view}")
        try:
            self.page.locator("h1").first.wait_for()
        except playwright.Error as blank:
            raise AssertionError(f"{view} is blank: {self.mistakes} {self.failed}") from blank
        playwright.expect(self.page.get_by_text("Loading…")).to_have_count(0)
        return self.page


@pytest.fixture
def look(browser: Any, front: ConsoleFront) -> Iterator[Callable[..., Looking]]:
    """Return a function that opens a tab of its own, with the options of a browser's context."""
    contexts = []

    def begin(of: ConsoleFront = front, **options: Any) -> Looking:
        contexts.append(browser.new_context(**{"viewport": {"width": 1200, "height": 800}, **options}))
        return Looking(contexts[-1], of)

    yield begin
    for context in contexts:
        context.close()
