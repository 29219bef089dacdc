"""How a command gets at the API of a running server: where that is, what it shows, whom it trusts."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import typer

from svcdns.config.listening import ADDRESSES, is_loopback, reachable
from svcdns.config.sections import Config, ConfigError, Endpoint

KUBECTL_SENDS_NO_TOKEN = "kubectl sends no token over plain http; other clients do"

ServerFlag = Annotated[
    str | None,
    typer.Option("--server", metavar="URL", help="Where the API is; else as the configuration says."),
]
CertsFlag = Annotated[
    Path | None, typer.Option("--certs", metavar="DIR", help="A folder that `svcdns certs init` made.")
]
CaFlag = Annotated[Path | None, typer.Option("--ca", metavar="FILE", help="Whom to trust.")]
TokenFlag = Annotated[
    str,
    typer.Option("--token", metavar="TOKEN", envvar="SVCDNS_TOKEN", help="A token; - reads it from stdin."),
]
ClientCertFlag = Annotated[Path | None, typer.Option("--client-cert", metavar="FILE")]
ClientKeyFlag = Annotated[Path | None, typer.Option("--client-key", metavar="FILE")]


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a client shows, and whom it trusts; all may be missing."""

    ca: Path | None = None
    token: str = ""
    client_cert: Path | None = None
    client_key: Path | None = None

    @classmethod
    def given(
        cls, certs: Path | None, ca: Path | None, token: str, cert: Path | None, key: Path | None
    ) -> Credentials:
        """Return what the flags of a command say; the token `-` is read from stdin.

        The client in the folder `certs`, which `svcdns certs init` made, is left out where there is a token.
        """
        token = sys.stdin.readline().strip() if token == "-" else token
        if certs is not None:
            ca = ca or certs / "ca.crt"
            if cert is None:
                cert, key = (None, None) if token else (certs / "client.crt", certs / "client.key")
        return cls(ca, token, cert, key)


def server_of(config: Config) -> str:
    """Return the URL of the server of this configuration, with the port that it really has if it runs."""
    scheme = "https" if config.api.tls_cert else "http"
    listen = config.api.listen
    try:
        addresses = json.loads((config.data / ADDRESSES).read_text())["api"]
        listen = Endpoint(listen.host, int(addresses.rpartition(":")[2]))
    except (OSError, ValueError, KeyError, TypeError):
        pass
    if not listen.port:
        raise ConfigError("which server? none of this configuration runs, so say --server URL")
    return f"{scheme}://{reachable(listen)}"


def checked(server: str, credentials: Credentials) -> tuple[str, str]:
    """Return the server's URL without a last slash, and a warning or "".  Raises ConfigError."""
    try:
        parts = urlsplit(server)
        is_url = (
            parts.scheme in ("http", "https") and parts.hostname and (parts.port or 1) and "@" not in server
        )
    except ValueError:
        is_url = False
    if not is_url or parts.query or parts.fragment:
        allowed = "allowed: such as https://dns.example.org:8053"
        raise ConfigError(f"--server: {server[:80]!r} is no URL of a server; {allowed}")
    if bool(credentials.client_cert) != bool(credentials.client_key):
        raise ConfigError("--client-cert and --client-key belong together; allowed: both or none")
    if credentials.client_cert and credentials.token:
        raise ConfigError("--token and --client-cert exclude each other; allowed: one of them")
    if credentials.token and not (credentials.token.isascii() and credentials.token.isprintable()):
        raise ConfigError("--token: is no token; allowed: what `svcdns token create` printed")
    url = server.rstrip("/")
    if parts.scheme == "https":
        return url, ""
    if credentials.client_cert:
        raise ConfigError(f"--server: {url}: a client certificate needs https")
    if credentials.token and not is_loopback(parts.hostname or ""):
        text = f"everybody on the way could read the token, and {KUBECTL_SENDS_NO_TOKEN}; allowed: https"
        raise ConfigError(f"--server: {url}: {text}")
    return url, KUBECTL_SENDS_NO_TOKEN if credentials.token else ""
