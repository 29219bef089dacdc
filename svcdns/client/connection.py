"""Which server is meant, and what it is shown: found in one order, the first that says something wins.

    1. what the caller says                       --api URL
    2. SVCDNS_API                                 (with SVCDNS_TOKEN and SVCDNS_CA beside it)
    3. the current context of KUBECONFIG
    4. a server that runs on a data folder        addresses.json in it says where

`~/.kube/config` is not looked at unless KUBECONFIG names it: it is most likely a real cluster's.  As
KUBECONFIG may name one too, such a server must say that it is svcdns before anything else is sent to it
(`explanations.check_server`), and `passed_over` says which server on this machine was not taken.
"""

from __future__ import annotations

import os
import ssl
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

from svcdns.config.listening import DATA_FOLDERS, api_of_running, is_closed, is_loopback

from . import kubeconfig_file

_KUBECONFIG, _CA = "KUBECONFIG", "SVCDNS_CA"


class NoServer(Exception):
    """No server is named and none is found; the text says where was looked, and what names one."""


@dataclass(frozen=True, slots=True)
class Connection:
    """Where an API is, whom it is trusted by, and what it is shown; PEM as octets."""

    url: str
    found: str = ""
    """What named it, for messages: "--api", "SVCDNS_API" ..."""
    token: str = ""
    ca: bytes = b""
    certificate: bytes = b""
    key: bytes = b""
    verify: bool = True
    namespace: str = ""
    """Where commands go that name none; "" is `default`."""
    others: tuple[str, ...] = ()
    """URLs of replicas, which show the same: `AsyncClient` goes to the next one where a server is away."""
    passed_over: str = ""
    """The server on this machine that would have been meant without KUBECONFIG, for messages; "" for none."""

    @property
    def is_unsure(self) -> bool:
        """Whether what names this server may name a cluster of Kubernetes as well."""
        return self.found == _KUBECONFIG

    def tls(self) -> ssl.SSLContext | None:
        """Return how to connect, None for plain HTTP.  Raises NoServer for unusable certificates."""
        if urlsplit(self.url).scheme != "https":
            return None
        try:
            context = ssl.create_default_context(cadata=self.ca.decode() if self.ca else None)
            if not self.verify:
                context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            if self.certificate:
                _load_chain(context, self.certificate + b"\n" + self.key)
        except (OSError, ValueError) as wrong:  # of ssl too
            whose = self.found if self.certificate or self.is_unsure else _CA
            raise NoServer(f"{whose}: the certificates can't be used: {wrong}") from None
        return context


def _load_chain(context: ssl.SSLContext, pem: bytes) -> None:
    """The standard library reads certificates from files only."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(pem)
        file.flush()
        context.load_cert_chain(file.name)


def find(
    api: str = "", environ: Mapping[str, str] = os.environ, folders: Sequence[Path] = DATA_FOLDERS
) -> Connection:
    """Return the connection that is meant.  Raises NoServer."""
    token = _token(environ)
    for found, url in (("--api", api), ("SVCDNS_API", environ.get("SVCDNS_API", ""))):
        if url:
            return Connection(_checked(url, found), found, token, _ca(environ))
    if files := environ.get("KUBECONFIG", ""):
        there = _of_kubeconfig(files)
        here = next((url for url in map(api_of_running, folders) if url), "")
        return there if not here or _is_same(here, there.url) else replace(there, passed_over=here)
    for folder in folders:
        if url := api_of_running(folder):
            return Connection(url, f"the server on {folder}", token, _ca(environ))
    raise NoServer(f"which server? {_looked(folders)}; say --api URL, or start one: svcdns serve")


def _looked(folders: Sequence[Path]) -> str:
    """Return where was looked for a server, and what this user may not look into."""
    looked = ", ".join(map(str, folders))
    closed = [f"{folder} is another user's (sudo?)" for folder in folders if is_closed(folder)]
    return "; ".join([f"none runs on {looked}, and neither SVCDNS_API nor KUBECONFIG names one", *closed])


def _is_same(one: str, other: str) -> bool:
    """Return whether two URLs name the same server, as far as can be told without asking anybody."""
    places = []
    for parts in map(urlsplit, (one, other)):
        port = parts.port or {"http": 80, "https": 443}[parts.scheme]
        places.append(("localhost" if is_loopback(parts.hostname or "") else parts.hostname, port))
    return places[0] == places[1]


def _checked(url: str, found: str) -> str:
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and parts.hostname and (parts.port or 1) and "@" not in url
    except ValueError:
        good = False
    if not good or parts.query or parts.fragment:
        raise NoServer(f"{found}: {url[:80]!r} is no URL of a server; allowed: such as http://127.0.0.1:8053")
    return url.rstrip("/")


def _ca(environ: Mapping[str, str]) -> bytes:
    if not (file := environ.get("SVCDNS_CA", "")):
        return b""
    try:
        return Path(file).read_bytes()
    except OSError as wrong:
        raise NoServer(f"{_CA}: {file}: {(wrong.strerror or str(wrong)).lower()}") from None


def _token(environ: Mapping[str, str]) -> str:
    token = environ.get("SVCDNS_TOKEN", "").strip()
    if not (token.isascii() and token.isprintable()):
        raise NoServer("SVCDNS_TOKEN: is no token; allowed: what `svcdns token create` printed")
    return token


def _of_kubeconfig(files: str) -> Connection:
    try:
        current = kubeconfig_file.current(files)
    except kubeconfig_file.Unusable as wrong:
        raise NoServer(f"{_KUBECONFIG}: {wrong}") from None
    return Connection(
        _checked(current.server, _KUBECONFIG),
        _KUBECONFIG,
        current.token,
        current.ca,
        current.certificate,
        current.key,
        current.verify,
        current.namespace,
    )
