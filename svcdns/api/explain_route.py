"""GET /svcdns/v1/explain?name=NAME: what a name answers, from which objects, and for an empty answer why.

    {"name": "web.default.svc.cluster.local.", "answers": [], "objects": ["Service default/web"],
     "reasons": ["selector app=web matches no Pod; Pod web-1 has name=web"], "sources": []}

NAME is written as people write names (svcdns.registry.explain); `namespace` is where a name is looked for
that names none.  `sources` is what each source says of a Pod's readiness, where NAME is a Pod.  Beside it
stands what a client is answered, and where that comes from (svcdns.api.explained_answer):

    type=AAAA          instead of A
    client=ADDRESS     instead of who asks
    search=1           NAME as it is written, by the search list of a Pod of the namespace
    forward=1          have upstreams asked where it is theirs to answer

It shows objects of all namespaces, so it is for who may read them all.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import asdict
from ipaddress import ip_address
from typing import TYPE_CHECKING

import msgspec
from aiohttp import web

from svcdns.objects.errors import Cause, StatusError
from svcdns.wire.name import BadName

from .explained_answer import Asking, ExplainedAnswers
from .parameters import boolean
from .paths import Action
from .responses import json_answer

if TYPE_CHECKING:
    from svcdns.registry.explain import Explanation

PATH = "/svcdns/v1/explain"
EXPLAINING = Action("list", "", "pods")
"""What somebody must be allowed to do, in all namespaces."""
DEFAULT_NAMESPACE = "default"
_LONGEST_NAME, _LONGEST_NAMESPACE = 253, 63
_LONGEST_ADDRESS, _LONGEST_TYPE = 64, 20

Explain = Callable[[str, str], "Explanation"]
"""Explains a name, in a namespace; takes a moment where there are many Pods."""


async def answer(request: web.Request, explain: Explain, answers: ExplainedAnswers) -> web.Response:
    """Explain a name.  Raises StatusError 400 where none is given, or it can't be one."""
    name, namespace = asked(request)
    asking = _asking(request)
    try:
        found = await asyncio.to_thread(explain, name, namespace)
        answered = await answers.explained(name if asking.search else found.name, namespace, asking)
    except (BadName, UnicodeError) as wrong:
        raise _invalid(str(wrong)) from None
    return json_answer(request, msgspec.json.encode({**asdict(found), **answered}))


def asked(request: web.Request) -> tuple[str, str]:
    """Return the name and the namespace that a request asks about.  Raises StatusError 400."""
    name = request.query.get("name", "")
    if not name.strip(". ") or len(name) > _LONGEST_NAME or not _is_plain(name):
        raise _invalid("must be a domain name, or the name of a Pod; such as web.default.svc")
    namespace = request.query.get("namespace") or DEFAULT_NAMESPACE
    if len(namespace) > _LONGEST_NAMESPACE or not _is_plain(namespace):
        raise _invalid("namespace must be the name of a namespace")
    return name, namespace


def _asking(request: web.Request) -> Asking:
    """Return what else the parameters say.  Raises StatusError 400."""
    query = request.query
    client = query.get("client") or request.remote or "127.0.0.1"
    try:
        ip_address(client if len(client) <= _LONGEST_ADDRESS else "")
    except ValueError:
        raise _invalid("must be an address", "client") from None
    number, text = _type(query.get("type") or "A")
    return Asking(number, text, client, bool(boolean(query, "search")), bool(boolean(query, "forward")))


def _type(text: str) -> tuple[int, str]:
    """Return number and name of a type of records.  Raises StatusError 400."""
    from dns import exception, rdatatype  # with what only this needs

    try:
        number = rdatatype.from_text(text[:_LONGEST_TYPE])
    except (exception.DNSException, ValueError):
        raise _invalid(
            f"{text[:_LONGEST_TYPE]!r} is no type; such as A, AAAA, SRV, PTR, TXT", "type"
        ) from None
    return int(number), rdatatype.to_text(number)


def _is_plain(text: str) -> bool:
    """Return whether a text is ASCII without control characters: keys of the store end in NUL."""
    return text.isascii() and text.isprintable()


def _invalid(text: str, field: str = "name") -> StatusError:
    cause = Cause("FieldValueInvalid", text, field)
    return StatusError(400, "BadRequest", f"{field}: {text}", causes=[cause])
