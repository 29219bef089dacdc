"""`svcdns top`: what is asked most, by whom, how often and how fast, as it changes."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from . import talking
from .outcome import show

if TYPE_CHECKING:
    from svcdns.client import Client

    from .top_screen import Page

_PATH = "/svcdns/v1/stats"
_SECOND_LOOK_SECONDS = 2.0
"""What is recorded only since somebody looks has little in it at first."""


def top(
    once: Annotated[bool, typer.Option("--once", help="Show it once, and end.")] = False,
    span: Annotated[
        Literal["1m", "5m", "60m"], typer.Option("--span", help="The time that is counted.")
    ] = "1m",
    rows: Annotated[int, typer.Option("--rows", min=1, max=50, help="With --once: rows of each table.")] = 10,
    every: Annotated[
        float, typer.Option("--every", min=0.5, metavar="SECONDS", help="How often it changes.")
    ] = 2.0,
    output: Annotated[
        Literal["text", "json"], typer.Option("--output", "-o", help="With --once: text, or JSON.")
    ] = "text",
    api: talking.ApiFlag = "",
    data: talking.DataFlag = None,
) -> None:
    """Show what is asked most, by whom, and which names there are not; rates and times above it.

    Keys: n names, c clients, s namespaces, m names there are not; r, l, e sort by rate, latency, errors;
    / filters, space pauses, q ends. Rates are exact. What is asked most is counted over a part of all
    questions, where only a part is recorded (docs/seeing.md), so counts are estimates. Without a terminal it
    is shown once.

    Examples:

        svcdns top --once

        svcdns top --once --span 5m -o json
    """
    from rich.console import Console

    console = Console()
    with talking.talking(api, data) as client:
        if once or output == "json" or not console.is_terminal:
            page = _page(client)
            if page["began"]:
                time.sleep(_SECOND_LOOK_SECONDS)
                page = _page(client)
            if output == "json":
                typer.echo(json.dumps(page, indent=2))
                return
            for line in _lines(page, span, rows):
                show(line)
            return
        _live(console, client, span, every)


def _page(client: Client) -> Page:
    from svcdns.client.exchange import Request, answer

    page: Page = client.run(answer(Request("GET", _PATH), "perSecond", "last", "began"))
    return page


def _live(console: Any, client: Client, span: str, every: float) -> None:
    """Show it until q is pressed: each key at once, what is asked every so many seconds."""
    from rich.live import Live
    from rich.text import Text

    from .keys import Keys
    from .top_screen import View, pressed, screen

    view, page, trouble = View(), _page(client), ""
    with Live(console=console, screen=True, auto_refresh=False) as live, Keys() as keys:
        due = time.monotonic() + every
        while not view.ended:
            lines = screen(page, span, view, console.width, console.height, trouble)
            live.update(Text("\n".join(lines), no_wrap=True), refresh=True)
            for key in keys.wait(max(0.0, due - time.monotonic())):
                view = pressed(view, key)
            if time.monotonic() >= due and not view.ended:
                if not view.paused:
                    page, trouble = _again(client, page)
                due = time.monotonic() + every


def _again(client: Client, page: Page) -> tuple[Page, str]:
    """Return the page as it is now; the one before, and why, where the server has none just now."""
    from svcdns.client import ApiError, Unreachable

    try:
        return _page(client), ""
    except Unreachable as wrong:
        return page, str(wrong)
    except ApiError as wrong:
        if wrong.status not in (429, 500, 503):
            raise
        return page, str(wrong)


def _lines(page: Page, span: str, rows: int) -> Iterator[str]:
    from .top_screen import TABLES, View, head_lines, row_line, rows_of, title_line

    yield from head_lines(page, span)
    for table in TABLES.values():
        yield ""
        yield title_line(table)
        for row in rows_of(page, span, View(table))[:rows]:
            yield row_line(row, span)
