"""[store]: where the registry is, if other svcdns have a part in it.  Standard library only."""

# No `from __future__ import annotations` here: `options` reads the types, which are text with it.

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from . import readers as read
from .options import Flag, option
from .readers import Wrong

_PREFIX = re.compile(r"/([A-Za-z0-9._-]+/)+")


def member(text: str) -> str:
    """Return the URL of a member of etcd."""
    allowed = "allowed: http://HOST:PORT or https://HOST:PORT, such as https://etcd-1.example.com:2379"
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise Wrong(f"{text[:80]!r} is no URL; {allowed}") from None
    if parts.scheme not in ("http", "https") or not parts.hostname or not text.isprintable():
        raise Wrong(f"{text[:80]!r} is no member of etcd; {allowed}")
    if not port or parts.username is not None or parts.path.strip("/") or parts.query or parts.fragment:
        raise Wrong(f"{text[:80]!r} has no port, or more than host and port; {allowed}")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}:{port}"


def prefix(text: str) -> str:
    """Return what keys begin with: a path that ends in a slash."""
    if not _PREFIX.fullmatch(text) or len(text) > 100:
        raise Wrong(f"{text[:80]!r} is no prefix of keys; allowed: such as /svcdns/ or /dns/site-a/")
    return text


@dataclass(frozen=True, slots=True)
class StoreConfig:
    """[store]: the registry on etcd, where several svcdns share one."""

    etcd: tuple[str, ...] = option(
        (),
        read.each(member),
        flag=Flag("--etcd", "URL", "Share the registry in this etcd; name each of its members.", place=11),
    )
    """Members of an etcd (3.4 to 3.6) in which the registry is, such as `["http://127.0.0.1:2379"]`; several
    svcdns share it. `[]`: it is in the folder `data` alone. See [replicas.md](replicas.md)."""
    etcd_prefix: str = option("/svcdns/", prefix)
    """What all keys begin with: one registry, one prefix."""
    etcd_ca: Path | None = option(None)
    """Who signs the certificates of the members (PEM); without it, whom the system trusts."""
    etcd_certificate: Path | None = option(None)
    """Certificate that is shown to the members (PEM); with etcd's `--client-cert-auth` they ask for one."""
    etcd_key: Path | None = option(None)
    """Its key."""
    etcd_user: str = option("")
    """User of etcd, where it has authentication on; who may read and write all keys of the prefix."""
    etcd_password_file: Path | None = option(None)
    """File with the user's password."""
    etcd_timeout_ms: int = option(1800, read.between(100, 60_000, "milliseconds"))
    """How long a request may take, whichever members it asks, in milliseconds."""
    stale_after: int = option(60, read.between(0, 24 * 3600, "seconds"))
    """Seconds without etcd after which own answers say that they are old (EDE 3, RFC 8914); 0: never."""
