"""`svcdns kubeconfig`: what kubectl and other Kubernetes clients need to talk to a running server.

Certificates and keys are put into the file itself, so that it can be carried away alone.
"""

from __future__ import annotations

import json
import os
import sys
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, NamedTuple
from urllib.parse import urlsplit

import typer

from svcdns.config.listening import ADDRESSES
from svcdns.config.sections import Config, ConfigError, Endpoint

from .flags import ConfigFlag, loaded
from .outcome import Refused, say

KUBECTL_SENDS_NO_TOKEN = "kubectl sends no token over plain http; other clients do"


def kubeconfig(
    server: Annotated[
        str | None,
        typer.Option("--server", metavar="URL", help="Where the API is; else as the configuration says."),
    ] = None,
    certs: Annotated[
        Path | None, typer.Option("--certs", metavar="DIR", help="A folder that `svcdns certs init` made.")
    ] = None,
    ca: Annotated[Path | None, typer.Option("--ca", metavar="FILE", help="Whom to trust.")] = None,
    token: Annotated[
        str,
        typer.Option(
            "--token", metavar="TOKEN", envvar="SVCDNS_TOKEN", help="A token; - reads it from stdin."
        ),
    ] = "",
    client_cert: Annotated[Path | None, typer.Option("--client-cert", metavar="FILE")] = None,
    client_key: Annotated[Path | None, typer.Option("--client-key", metavar="FILE")] = None,
    namespace: Annotated[
        str, typer.Option("--namespace", "-n", metavar="NS", help="Where commands go that name none.")
    ] = "",
    name: Annotated[
        str, typer.Option("--name", help="What cluster, user and context are called.")
    ] = "svcdns",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="A new file; else stdout.")
    ] = None,
    config: ConfigFlag = None,
) -> None:
    """Write what kubectl needs to talk to a running server, with certificates and keys in it.

    Examples:

        svcdns kubeconfig --certs certs > admin.kubeconfig

        svcdns kubeconfig --server https://dns.example.org:8053 --ca certs/ca.crt --token - -o ci.kubeconfig
    """
    token = sys.stdin.readline().strip() if token == "-" else token
    if certs is not None:
        ca = ca or certs / "ca.crt"
        if client_cert is None:  # with a token, the folder's client is left out
            client_cert, client_key = (None, None) if token else (certs / "client.crt", certs / "client.key")
    credentials = Credentials(ca, token, client_cert, client_key)
    text, warning = _made(server or _server_of(loaded(config, {})), credentials, namespace, name)
    _write(text, output)
    if warning:
        say(warning)


class Credentials(NamedTuple):
    """What a client shows, and whom it trusts; all may be missing."""

    ca: Path | None = None
    token: str = ""
    client_cert: Path | None = None
    client_key: Path | None = None


def _server_of(config: Config) -> str:
    """Return the URL of the server of this configuration, with the port that it really has if it runs."""
    scheme = "https" if config.api.tls_cert else "http"
    listen = config.api.listen
    try:
        really = json.loads((config.data / ADDRESSES).read_text())["api"]
        listen = Endpoint(listen.host, int(really.rpartition(":")[2]))
    except (OSError, ValueError, KeyError, TypeError):
        pass
    if not listen.port:
        raise ConfigError("which server? none of this configuration runs, so say --server URL")
    host = listen.host
    if ip_address(host).is_unspecified:
        host = "::1" if ":" in host else "127.0.0.1"
    return f"{scheme}://{Endpoint(host, listen.port)}"


def _made(server: str, credentials: Credentials, namespace: str, name: str) -> tuple[str, str]:
    """Return the file's text, and a warning or "".  Raises ConfigError."""
    import yaml

    url, warning = _checked(server, credentials)
    cluster: dict[str, Any] = {"server": url}
    user: dict[str, Any] = {}
    if credentials.ca is not None and url.startswith("https:"):
        cluster["certificate-authority-data"] = _embedded("--ca", credentials.ca, "CERTIFICATE")
    if credentials.token:
        user["token"] = credentials.token
    if credentials.client_cert is not None and credentials.client_key is not None:
        user["client-certificate-data"] = _embedded("--client-cert", credentials.client_cert, "CERTIFICATE")
        user["client-key-data"] = _embedded("--client-key", credentials.client_key, "PRIVATE KEY")
        _check_pair(credentials.client_cert, credentials.client_key)
    context = {"cluster": name, "user": name, **({"namespace": namespace} if namespace else {})}
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": cluster}],
        "users": [{"name": name, "user": user}],
        "contexts": [{"name": name, "context": context}],
        "current-context": name,
    }
    return yaml.safe_dump(document, sort_keys=False), warning


def _write(text: str, output: Path | None) -> None:
    """Write to stdout, or to a new file that only its owner reads.  Raises ConfigError, Refused."""
    if output is None:
        print(text, end="")
        return
    try:
        descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise ConfigError(f"--output: {output}: is there already; allowed: a new file") from None
    except OSError as failed:
        raise Refused(f"{output}: {(failed.strerror or str(failed)).lower()}") from None
    with open(descriptor, "w", encoding="utf-8") as out:
        out.write(text)


def _checked(server: str, credentials: Credentials) -> tuple[str, str]:
    """Return the server's URL without a last slash, and a warning or ""."""
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
    if credentials.token and not _is_loopback(parts.hostname or ""):
        text = f"everybody on the way could read the token, and {KUBECTL_SENDS_NO_TOKEN}; allowed: https"
        raise ConfigError(f"--server: {url}: {text}")
    return url, KUBECTL_SENDS_NO_TOKEN if credentials.token else ""


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _embedded(option: str, file: Path, what: str) -> str:
    try:
        octets = file.read_bytes()
    except OSError as failed:
        text = (failed.strerror or str(failed)).lower()
        raise ConfigError(f"{option}: {file}: can't be read: {text}") from None
    if f"{what}-----".encode() not in octets:
        raise ConfigError(f"{option}: {file}: holds no {what.lower()} in PEM format")
    import base64

    return base64.b64encode(octets).decode()


def _check_pair(cert: Path, key: Path) -> None:
    import ssl  # here: most commands do without

    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(cert, key, password="")
    except (ssl.SSLError, OSError, ValueError):
        raise ConfigError(f"--client-key: {key}: does not belong to the certificate in {cert}") from None
