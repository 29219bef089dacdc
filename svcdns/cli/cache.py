"""`svcdns cache`: what a running server remembers of the answers of others.

A request to its API (svcdns.api.cache_route), from wherever that can be reached.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote, urlsplit

import typer

from svcdns.config.listening import is_running
from svcdns.config.sections import Config, ConfigError

from . import api_access
from .api_access import Credentials
from .flags import ConfigFlag, DataFlag, loaded
from .outcome import Refused

if TYPE_CHECKING:
    import ssl

SECONDS = 60.0
"""For a large cache, on a machine that has other things to do."""
_MOST_OCTETS = 65536

app = typer.Typer(
    help="""What a running server remembers of forwarded answers. Own names are never in there.""",
)


@app.callback()
def cache() -> None:
    """Keep `flush` a command of its own, although it is the only one."""


@app.command()
def flush(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="A domain name; everything where left out.")
    ] = None,
    server: api_access.ServerFlag = None,
    certs: api_access.CertsFlag = None,
    ca: api_access.CaFlag = None,
    token: api_access.TokenFlag = "",
    client_cert: api_access.ClientCertFlag = None,
    client_key: api_access.ClientKeyFlag = None,
    config: ConfigFlag = None,
    data: DataFlag = None,
) -> None:
    """Forget the remembered answers of a name and of all names below it, or all of them.

    They are asked for anew when somebody asks next. Where the API asks who you are, it takes the
    role admin. Exit code 1 when no server runs there, or it forwards nothing; 2 for what is no name.

    Examples:

        svcdns cache flush

        svcdns cache flush example.com --config /etc/svcdns/svcdns.toml

        svcdns cache flush --server https://dns.example.org:8053 --certs certs
    """
    path = "/cache" if name is None else _path(name)
    credentials = Credentials.given(certs, ca, token, client_cert, client_key)
    resolved = loaded(config, {"data": data})
    url, _ = api_access.checked(server or api_access.server_of(resolved), credentials)
    try:
        status, body = _delete(url, path, credentials)
    except ConnectionRefusedError:
        why = _nobody(resolved) if server is None else f"{url} can't be reached: connection refused"
        raise Refused(why) from None
    except TimeoutError:
        raise Refused(f"{url} did not answer within {SECONDS:g} s") from None
    flushed = _flushed(status, body)
    typer.echo(f"flushed {flushed} answer{'' if flushed == 1 else 's'}")


def _path(name: str) -> str:
    """Return the path at which the answers of a name are.  Raises ConfigError."""
    from svcdns.wire.name import BadName
    from svcdns.wire.presentation import key_of_text

    try:
        return f"/cache/{quote(name, safe='')}" if key_of_text(name) else "/cache"
    except BadName as wrong:
        raise ConfigError(str(wrong)) from None


def _delete(url: str, path: str, credentials: Credentials) -> tuple[int, bytes]:
    """Send the request; return status and body.

    Raises ConfigError for certificates that can't be used, ConnectionRefusedError, TimeoutError and Refused.
    """
    # Here: most commands do without.
    import ssl
    from http.client import HTTPConnection, HTTPException, HTTPSConnection

    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port
    there = HTTPConnection(host, port, timeout=SECONDS)
    if parts.scheme == "https":
        there = HTTPSConnection(host, port, timeout=SECONDS, context=_tls(credentials))
    headers = {"Authorization": f"Bearer {credentials.token}"} if credentials.token else {}
    try:
        there.request("DELETE", parts.path + path, headers=headers)
        answer = there.getresponse()
        return answer.status, answer.read(_MOST_OCTETS)
    except (ConnectionRefusedError, TimeoutError):
        raise
    except ssl.SSLCertVerificationError as wrong:
        text = f"its certificate is not to be trusted: {wrong.verify_message}; allowed: --ca or --certs"
        raise Refused(f"{url} can't be reached: {text}") from None
    except (OSError, HTTPException) as failed:
        raise Refused(f"{url} can't be reached: {_why(failed)}") from None
    finally:
        there.close()


def _tls(credentials: Credentials) -> ssl.SSLContext:
    """Return how to connect.  Raises ConfigError for files that can't be used."""
    import ssl

    try:
        context = ssl.create_default_context(cafile=credentials.ca)
        if credentials.client_cert is not None:
            context.load_cert_chain(credentials.client_cert, credentials.client_key)
    except OSError as wrong:  # of ssl too
        raise ConfigError(f"the certificates can't be used: {_why(wrong)}") from None
    return context


def _flushed(status: int, body: bytes) -> int:
    """Return how many answers were forgotten.  Raises Refused."""
    try:
        answer: Any = json.loads(body)
    except ValueError:
        answer = None
    match status, answer:
        case 200, {"flushed": int(count)}:
            return count
        case _, {"message": str(text)}:
            remedy = "; allowed: --token or --certs of an administrator" if status in (401, 403) else ""
            raise Refused(text + remedy)
    raise Refused(f"the server answered with HTTP status {status} and nothing that says why")


def _nobody(config: Config) -> str:
    if is_running(config):
        return f"the server on {config.data} can't be reached now: its log says why"
    return f"no server runs on {config.data}; allowed: --data or --config of one that does"


def _why(failed: Exception) -> str:
    return (getattr(failed, "strerror", None) or str(failed) or type(failed).__name__).lower()
