"""POST, GET and DELETE of /console/session: log in with a token, see who that is, log out.

    POST {"token": "..."}   -> {"user": "ci", "session": true} and a cookie; a form leads to the plain page
    GET                     -> {"user": "ci", "session": true}; 401 for who has to log in and has not
    DELETE                  -> {}

Where the API asks nobody who they are, there is no login: POST says so by the user it answers.
"""

from __future__ import annotations

from urllib.parse import parse_qs

import msgspec
from aiohttp import web

from svcdns.api import bodies
from svcdns.api.paths import READ
from svcdns.api.responses import json_answer, method_not_allowed
from svcdns.objects.errors import StatusError, bad_request

from .access_control import USER, AccessControl
from .sessions import cookie_header, cookie_of

METHODS = ("DELETE", "GET", "HEAD", "POST")
_FORM = "application/x-www-form-urlencoded"
_LONGEST_BODY = 4096


class _Login(msgspec.Struct):
    token: str


_decode = msgspec.json.Decoder(_Login).decode


async def answer(request: web.Request, access: AccessControl) -> web.Response:
    """Answer a request about the session.

    Raises StatusError 400, 401, 405, 413 and 429.
    """
    if request.method in READ:
        access.identify(request)
        return _said(request, access.sessions is not None and bool(access.sessions.find(cookie_of(request))))
    if request.method == "POST":
        return await _log_in(request, access)
    if request.method != "DELETE":
        raise method_not_allowed()
    if access.sessions is not None:
        access.sessions.end(cookie_of(request))
    left = json_answer(request, b"{}")
    left.headers["Set-Cookie"] = cookie_header(request, "")
    return left


async def _log_in(request: web.Request, access: AccessControl) -> web.Response:
    is_form = request.headers.get("Content-Type", "").partition(";")[0].strip().lower() == _FORM
    if access.sessions is not None:
        access.sessions.check_try(request.remote or "")
    octets = await bodies.read(request)
    if len(octets) > _LONGEST_BODY:
        raise StatusError(413, "RequestEntityTooLarge", f"at most {_LONGEST_BODY} octets are allowed here")
    token = _of_form(octets) if is_form else _of_json(octets)
    begun = access.log_in(request, token.strip())
    entered = _to_plain() if is_form else _said(request, bool(begun))
    if begun:
        entered.headers["Set-Cookie"] = cookie_header(request, begun)
    return entered


def _of_json(octets: bytes) -> str:
    try:
        return _decode(octets).token
    except (msgspec.DecodeError, UnicodeDecodeError) as wrong:
        raise bad_request(f'{{"token": TOKEN}} is expected: {wrong}') from None


def _of_form(octets: bytes) -> str:
    try:
        return parse_qs(octets.decode(), max_num_fields=4).get("token", [""])[0]
    except ValueError:
        raise bad_request("a form with the field token is expected") from None


def _said(request: web.Request, session: bool) -> web.Response:
    said = {"user": request[USER].username, "session": session}
    return json_answer(request, msgspec.json.encode(said))


def _to_plain() -> web.Response:
    """Return what has a browser without JavaScript go on to the page for it."""
    return web.Response(status=303, headers={"Location": "plain", "Cache-Control": "no-store"})
