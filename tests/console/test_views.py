"""Each view in a real browser: no mistake in its console, none of accessibility, all widths and colours."""

from collections.abc import Callable
from typing import Any

import pytest
from console.conftest import ARTEFACTS, Looking
from toolbox.running_server import RunningServer

axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="(PyPI: axe-playwright-python)")

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
