"""GET /console/plain: Services and a lookup, for browsers without JavaScript and for reading in a terminal.

    /console/plain?namespace=shop                     its Services
    /console/plain?name=web.shop                      what a name answers, and why

It takes the rights that the same takes of the API.  Who may not see the Services gets a form to log in with.
All that objects and people say is text: nothing of it becomes a tag or moves the text beside it.
"""

from __future__ import annotations

import asyncio
import html
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import msgspec
from aiohttp import web

from svcdns.console.files import HEADERS
from svcdns.objects.errors import StatusError
from svcdns.objects.kinds import SERVICE
from svcdns.registry.requests import Page, Selection
from svcdns.wire.name import BadName

from .auth.authentication import CHALLENGE
from .explain_route import EXPLAINING, asked
from .paths import READ, Action
from .responses import method_not_allowed
from .stream_route import Check

if TYPE_CHECKING:
    from svcdns.registry.explain import Explanation
    from svcdns.registry.registry import Registry

ROWS = 500
_COLUMNS = ("Namespace", "Name", "Type", "Cluster IP", "Ports")


async def answer(request: web.Request, registry: Registry, check: Check) -> web.Response:
    """Answer with the page; what is refused stands in it.  Raises StatusError 405."""
    if request.method not in READ:
        raise method_not_allowed()
    namespace = request.query.get("namespace", "")
    code, parts = 200, [_form(request)]
    try:
        if request.query.get("name", "").strip():
            check(request, [EXPLAINING])
            parts += _explained(await asyncio.to_thread(registry.explain, *asked(request)))
        else:
            check(request, [Action("list", SERVICE.group, SERVICE.plural, "", namespace)])
            page = registry.page(SERVICE, namespace, Selection(), ROWS, request.query.get("continue", ""))
            parts += _services(page, namespace)
    except (StatusError, BadName, UnicodeError) as refused:
        code = refused.code if isinstance(refused, StatusError) else 400
        parts.append(f"<p>{_shown(refused)}</p>")
        parts += [_LOGIN] if code in (401, 403) else []
    text = _PAGE.format("".join(parts))
    headers = {**HEADERS, **_OF_PAGE}
    if code == 401:
        headers["WWW-Authenticate"] = CHALLENGE
    return web.Response(text=text, status=code, headers=headers)


_PAGE = (
    '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>svcdns</title>'
    '<meta name="viewport" content="width=device-width"><meta name="color-scheme" content="light dark">'
    '</head><body><h1>svcdns</h1><p><a href="plain">All Services</a></p>{}</body></html>\n'
)
_OF_PAGE = {
    "Content-Type": "text/html; charset=utf-8",
    "Cache-Control": "no-store",
    # With no-referrer a browser says "Origin: null" of a form, and the login would be a stranger's.
    "Referrer-Policy": "same-origin",
}
_LOGIN = (
    '<form method="post" action="session"><label>Token <input name="token" type="password"></label> '
    "<button>Log in</button></form>"
)


def _form(request: web.Request) -> str:
    name, namespace = (_shown(request.query.get(word, "")) for word in ("name", "namespace"))
    return (
        f'<form action="plain"><label>Name <input name="name" size="40" value="{name}"></label> '
        f'<label>Namespace <input name="namespace" value="{namespace}"></label> '
        "<button>Look up</button></form>"
    )


def _explained(found: Explanation) -> Iterator[str]:
    yield f"<h2>{_shown(found.name)}</h2>"
    said: dict[str, Any] = msgspec.to_builtins(found)
    for title in ("answers", "objects", "reasons", "sources"):
        if lines := said.get(title):
            rows = "".join(f"<li>{_shown(_line(line))}</li>" for line in lines)
            yield f"<h3>{title.capitalize()}</h3><ul>{rows}</ul>"


def _line(said: Any) -> str:
    return (
        ", ".join(f"{key}: {value}" for key, value in said.items()) if isinstance(said, dict) else str(said)
    )


def _services(page: Page, namespace: str) -> Iterator[str]:
    yield f"<h2>Services{f' of {_shown(namespace)}' if namespace else ''}</h2><table><thead><tr>"
    yield "".join(f'<th scope="col">{column}</th>' for column in _COLUMNS) + "</tr></thead><tbody>"
    for octets in page.items:
        yield f"<tr>{''.join(f'<td>{cell}</td>' for cell in _cells(msgspec.json.decode(octets)))}</tr>"
    yield "</tbody></table>" if page.items else "</tbody></table><p>There are none.</p>"
    if page.continue_:
        query = urlencode({"namespace": namespace, "continue": page.continue_})
        yield f'<p><a href="plain?{html.escape(query)}">More</a></p>'


def _cells(service: dict[str, Any]) -> Iterator[str]:
    metadata, spec = service["metadata"], service.get("spec", {})
    of, name = metadata["namespace"], metadata["name"]
    yield f'<a href="plain?{html.escape(urlencode({"namespace": of}))}">{_shown(of)}</a>'
    query = urlencode({"name": f"{name}.{of}.svc", "namespace": of})
    yield f'<a href="plain?{html.escape(query)}">{_shown(name)}</a>'
    yield _shown(spec.get("type", ""))
    yield _shown(spec.get("clusterIP", spec.get("externalName", "")))
    yield _shown(", ".join(f"{port['port']}/{port.get('protocol', 'TCP')}" for port in spec.get("ports", ())))


def _shown(said: object) -> str:
    """Return text for a page: without tags, and what is no letter to be seen as \\xNN or \\u{NNNN}."""
    return html.escape("".join(map(_letter, str(said)[:4096])))


def _letter(letter: str) -> str:
    if letter.isprintable():
        return letter
    return f"\\x{ord(letter):02x}" if ord(letter) < 256 else f"\\u{{{ord(letter):x}}}"
