"""Asking the server why a name answers what it answers."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from .exchange import Call, Request, answer

PATH = "/svcdns/v1/explain"


def explain(name: str, namespace: str) -> Call[dict[str, Any]]:
    """Return the explanation of a domain name or a Pod's name (svcdns.registry.explain has its fields)."""
    query = urlencode({"name": name, "namespace": namespace})
    found: dict[str, Any] = yield from answer(Request("GET", f"{PATH}?{query}"))
    return found
