"""The help of commands: which stand together in the list, and how a page is laid out.

Docstrings become pages: each paragraph is one line, which the terminal's width breaks; what is indented (the
examples) stays as it is.  A test runs each example.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from textwrap import indent
from typing import Any

PANELS = {
    "First steps": ("serve", "add", "why", "status", "remove"),
    "What is registered": ("get", "containers", "register", "ready", "unready", "wait", "apply", "delete"),
    "Names": ("query", "resolvconf", "cache"),
    "What is asked": ("top", "queries"),
    "Running a server": ("check", "reload", "upgrade", "backup", "restore", "migrate", "version", "proxy"),
    "Who may ask the API": ("kubeconfig", "token", "certs"),
}
"""The commands in the order in which somebody needs them."""


def panel_of(command: str) -> str:
    """Return under which title a command is listed."""
    return next(title for title, names in PANELS.items() if command in names)


def page(command: Callable[..., Any]) -> str:
    """Return a command's docstring as typer's help shows it well."""
    return laid_out(inspect.getdoc(command) or "")


def laid_out(text: str) -> str:
    """Return paragraphs as lines.

    Two empty lines behind the first keep typer from taking the indentation of the examples away.
    """
    first, *others = (_joined(part) for part in inspect.cleandoc(text).split("\n\n"))
    return "\n\n".join([first, "", *others]) if others else first


def _joined(paragraph: str) -> str:
    if paragraph.startswith(" "):
        return indent(inspect.cleandoc(paragraph), " " * 4)
    return " ".join(paragraph.split())
