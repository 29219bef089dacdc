"""GET /resolv.conf?namespace=NS&ndots=N: the file for a container, see svcdns.api.client_resolv_conf.

It is for everyone who may see /version: it says the cluster domain and where DNS answers, and nothing of
what is registered.
"""

from __future__ import annotations

from aiohttp import web

from svcdns.config.listening import dns_endpoints
from svcdns.config.readers import Wrong
from svcdns.config.readers import namespace as namespace_of
from svcdns.config.sections import Config
from svcdns.objects.errors import Cause, StatusError

from . import client_resolv_conf

PATH = "/resolv.conf"
DEFAULT_NAMESPACE = "default"


def answer(request: web.Request, config: Config) -> web.Response:
    """Return the file.  Raises StatusError 400 for a namespace or ndots that can't be."""
    namespace, ndots = _namespace(request), _ndots(request)
    listening = dns_endpoints(config)
    servers = client_resolv_conf.addresses_for(
        listening, config.dns.advertise_addresses, _local_address(request)
    )
    say_which = "advertise_addresses in [dns]" if client_resolv_conf.listens_on_all(listening) else ""
    text = client_resolv_conf.text(servers, namespace, config.cluster_domain, ndots, say_which=say_which)
    return web.Response(text=text, headers={"Cache-Control": "no-cache"})


def _namespace(request: web.Request) -> str:
    try:
        return namespace_of(request.query.get("namespace", DEFAULT_NAMESPACE))
    except Wrong as wrong:
        raise _invalid("namespace", str(wrong)) from None


def _ndots(request: web.Request) -> int:
    text = request.query.get("ndots", str(client_resolv_conf.NDOTS))
    if not (
        text.isascii() and text.isdigit() and len(text) <= 2 and int(text) <= client_resolv_conf.MOST_DOTS
    ):
        raise _invalid("ndots", f"{text[:80]!r} is out of range; allowed: 0..{client_resolv_conf.MOST_DOTS}")
    return int(text)


def _invalid(field: str, text: str) -> StatusError:
    cause = Cause("FieldValueInvalid", text, field)
    return StatusError(400, "BadRequest", f"{field}: {text}", causes=[cause])


def _local_address(request: web.Request) -> str | None:
    """Return the address of ours that this client has reached."""
    name = request.transport.get_extra_info("sockname") if request.transport is not None else None
    return str(name[0]) if isinstance(name, tuple) else None
