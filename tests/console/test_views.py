"""Each view in a real browser: no mistake in its console, none of accessibility, all widths and colours."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from console.conftest import ARTEFACTS, Looking, add
from toolbox.builders import namespace, pod, ready_condition, service
from toolbox.console_front import ConsoleFront
from toolbox.running_server import RunningServer

axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="(PyPI: axe-playwright-python)")

pytestmark = pytest.mark.alone  # a browser drops what it has under way when an interface comes or goes
Look = Callable[..., Looking]
VIEWS = {
    "overview": "overview",
    "services": "services",
    "service": "services/default/web",
    "pods": "pods",
    "pod": "pods/default/web-2",
    "lookup": "lookup?name=web.default.svc",
    "queries": "queries",
    "upstreams": "upstreams",
}
SHAPES: dict[str, dict[str, Any]] = {
    "light": {"color_scheme": "light"},
    "dark": {"color_scheme": "dark"},
    "narrow": {"viewport": {"width": 320, "height": 640}},
}


def test_the_pictures_of_the_docs(browser: Any) -> None:
    """With SVCDNS_PICTURES=docs they are drawn anew; else this only shows that they can be."""
    with RunningServer(workers=1, config='[tap]\nsample = 1\n[dns]\nzones = "none"\n') as server:
        for name in ("shop", "mail"):
            assert server.post("/api/v1/namespaces", namespace(name)).status == 201
        add(server, service("web"), pod("web-1", "10.1.0.1"), pod("web-2", "10.1.0.2"), namespace="shop")
        failing = pod("web-3", "10.1.0.3")
        said = {"reason": "ProbeFailed", "message": "GET /healthz: 503 Service Unavailable"}
        failing["status"]["conditions"] = [ready_condition(False) | said]
        add(
            server,
            failing,
            service("db", clusterIP="None"),
            pod("db-0", "10.1.0.9", app="db"),
            namespace="shop",
        )
        add(server, service("smtp", type="NodePort"), pod("smtp-1", "10.1.1.1", app="smtp"), namespace="mail")
        folder = Path(os.environ.get("SVCDNS_PICTURES") or ARTEFACTS)
        folder.mkdir(parents=True, exist_ok=True)
        with ConsoleFront(server.api) as front:
            context = browser.new_context(viewport={"width": 1000, "height": 840}, color_scheme="light")
            looking = Looking(context, front)
            for name, view in {"services": "services", "service": "services/shop/web"}.items():
                page = looking.go(view)
                page.get_by_text("ProbeFailed" if name == "service" else "smtp").first.wait_for()
                page.screenshot(path=folder / f"console-{name}.png")
            assert looking.mistakes == []
            context.close()


@pytest.mark.parametrize("shape", SHAPES)
def test_each_view_is_without_mistakes_and_accessible(
    look: Look, registered: RunningServer, shape: str
) -> None:
    looking = look(**SHAPES[shape])
    ARTEFACTS.mkdir(parents=True, exist_ok=True)
    for name, view in VIEWS.items():
        page = looking.go(view)
        registered.ask("web.default.svc.cluster.local")
        found = axe.Axe().run(page).response["violations"]
        assert [(one["id"], [node["html"] for node in one["nodes"]]) for one in found] == [], name
        wide = page.evaluate("document.documentElement.scrollWidth > innerWidth")
        assert not wide, f"{name} is wider than the screen"
        page.screenshot(path=ARTEFACTS / f"{name}-{shape}.png")
    assert looking.mistakes == []
