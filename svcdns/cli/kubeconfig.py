"""`svcdns kubeconfig`: what kubectl and other Kubernetes clients need to talk to a running server.

Certificates and keys are put into the file itself, so that it can be carried away alone.
"""

from __future__ import annotations

import base64
import os
from pathlib import Path
from typing import Annotated, Any

import typer

from svcdns.config.sections import ConfigError

from . import api_access
from .api_access import Credentials
from .flags import ConfigFlag, loaded
from .outcome import Refused, say


def kubeconfig(
    server: api_access.ServerFlag = None,
    certs: api_access.CertsFlag = None,
    ca: api_access.CaFlag = None,
    token: api_access.TokenFlag = "",
    client_cert: api_access.ClientCertFlag = None,
    client_key: api_access.ClientKeyFlag = None,
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

        svcdns kubeconfig --server https://dns.example.org:8053 --certs certs

        svcdns kubeconfig --certs certs --token - -o ci.kubeconfig
    """
    credentials = Credentials.given(certs, ca, token, client_cert, client_key)
    text, warning = _made(server or api_access.server_of(loaded(config, {})), credentials, namespace, name)
    _write(text, output)
    if warning:
        say(warning)


def _made(server: str, credentials: Credentials, namespace: str, name: str) -> tuple[str, str]:
    """Return the file's text, and a warning or "".  Raises ConfigError."""
    import yaml

    url, warning = api_access.checked(server, credentials)
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
        typer.echo(text, nl=False)
        return
    try:
        descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise ConfigError(f"--output: {output}: is there already; allowed: a new file") from None
    except OSError as failed:
        raise Refused(f"{output}: {(failed.strerror or str(failed)).lower()}") from None
    with open(descriptor, "w", encoding="utf-8") as out:
        out.write(text)


def _embedded(option: str, file: Path, what: str) -> str:
    try:
        octets = file.read_bytes()
    except OSError as failed:
        text = (failed.strerror or str(failed)).lower()
        raise ConfigError(f"{option}: {file}: can't be read: {text}") from None
    if f"{what}-----".encode() not in octets:
        raise ConfigError(f"{option}: {file}: holds no {what.lower()} in PEM format")

    return base64.b64encode(octets).decode()


def _check_pair(cert: Path, key: Path) -> None:
    import ssl  # here: most commands do without

    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(cert, key, password="")
    except (ssl.SSLError, OSError, ValueError):
        raise ConfigError(f"--client-key: {key}: does not belong to the certificate in {cert}") from None
