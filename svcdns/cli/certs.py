"""`svcdns certs`: a private CA in a folder, and the certificates that it signs.

    DIR/ca.crt      ca.key       whom both sides trust; keep the key where the server is not
    DIR/server.crt  server.key   for [api] tls_cert and tls_key
    DIR/client.crt  client.key   an administrator (group svcdns:admins)

Keys have mode 0600 from the first moment.  Nothing is written over unless --force says so, and then by a
rename, so that a running server takes the new files.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Annotated

import typer

from svcdns.config.sections import ConfigError
from svcdns.system.replacing import atomic_write

from .outcome import Refused

if TYPE_CHECKING:
    from .certificates import Pair

ALWAYS = ("localhost", "127.0.0.1", "::1")
"""Hosts that each server certificate is for."""
_USER = r"[A-Za-z0-9]([A-Za-z0-9._@-]{0,62}[A-Za-z0-9])?"
_TAKEN = ("ca", "server")

app = typer.Typer(
    help="A private CA for the API, with server and client certificates (needs the extra `tls`)."
)

_Dir = Annotated[Path, typer.Option("--dir", metavar="DIR", help="Where the files are; made where missing.")]
_Host = Annotated[
    list[str] | None,
    typer.Option(
        "--host",
        metavar="HOST",
        help="A name or address by which clients reach the server, beside localhost; may be repeated.",
    ),
]
_Days = Annotated[int, typer.Option("--days", min=1, max=3650, help="How long certificates are good.")]
_Force = Annotated[bool, typer.Option("--force", help="Write over what is there.")]
_HERE = Path("certs")
_YEAR = 365


@app.command()
def init(dir: _Dir = _HERE, host: _Host = None, days: _Days = _YEAR, force: _Force = False) -> None:
    """Make a CA, a server certificate, and a client certificate for an administrator.

    Example:

        svcdns certs init --dir certs --host dns.example.org --host 192.0.2.53
    """
    from svcdns.api.auth.authorization import ADMINS

    hosts = _hosts(host)
    with _making(dir, ("ca", "server", "client"), force) as certificates:
        ca = certificates.make_ca()
        _write(dir, "ca", ca)
        _write(dir, "server", certificates.make_server(ca, hosts, days))
        _write(dir, "client", certificates.make_client(ca, "admin", [ADMINS], days))
    typer.echo(
        f"{dir}: CA, server certificate for {', '.join(hosts)}, client certificate for admin ({ADMINS})"
    )


@app.command()
def server(dir: _Dir = _HERE, host: _Host = None, days: _Days = _YEAR, force: _Force = False) -> None:
    """Make a server certificate anew (with --force in the place of the old one), signed by the CA of DIR.

    Example:

        svcdns certs server --host dns.example.org --force
    """
    hosts = _hosts(host)
    with _making(dir, ("server",), force) as certificates:
        _write(dir, "server", certificates.make_server(_ca(dir), hosts, days))
    typer.echo(f"{dir}: server certificate for {', '.join(hosts)}")


@app.command()
def client(
    name: Annotated[str, typer.Option("--name", metavar="USER", help="Who it is for.")],
    group: Annotated[
        list[str] | None,
        typer.Option("--group", metavar="GROUP", help="One of their groups; may be repeated."),
    ] = None,
    dir: _Dir = _HERE,
    days: _Days = _YEAR,
    force: _Force = False,
) -> None:
    """Make a client certificate, signed by the CA of DIR; grants (api.grant) say what the user may do.

    Example:

        svcdns certs client --name alice --group developers
    """
    if not re.fullmatch(_USER, name) or name in _TAKEN:
        raise ConfigError(
            f"--name: {name[:80]!r} can't be; allowed: 1 to 64 letters, digits and inner . _ @ -"
        )
    groups = group or []
    with _making(dir, (name,), force) as certificates:
        _write(dir, name, certificates.make_client(_ca(dir), name, groups, days))
    typer.echo(
        f"{dir / name}.crt: client certificate for {name}{' (' + ', '.join(groups) + ')' if groups else ''}"
    )


@contextmanager
def _making(folder: Path, names: Sequence[str], force: bool) -> Iterator[ModuleType]:
    """Give what makes certificates, if those of these names may be written; mistakes become one line.

    Raises Refused for what the machine doesn't have or allow, ConfigError for all else.
    """
    files = (folder / f"{name}{end}" for name in names for end in (".crt", ".key"))
    there = next((file for file in files if file.exists()), None)
    if there is not None and not force:
        raise ConfigError(f"{there}: is there already; --force writes over it")
    try:
        import svcdns.cli.certificates as certificates
    except ImportError:
        remedy = "install it where svcdns is: pip install cryptography"
        raise Refused(f"certificates need the package cryptography; {remedy}") from None
    try:
        yield certificates
    except certificates.CertificateError as wrong:
        raise ConfigError(str(wrong)) from None
    except OSError as failed:
        raise Refused(f"{failed.filename}: {(failed.strerror or str(failed)).lower()}") from None


def _hosts(given: Sequence[str] | None) -> list[str]:
    from ipaddress import ip_address

    from svcdns.config.readers import Wrong, domain

    hosts = list(ALWAYS)
    for text in given or ():
        try:
            host = str(ip_address(text.removeprefix("[").removesuffix("]")))
        except ValueError:
            try:
                host = domain(text)
            except Wrong:
                allowed = "allowed: a host name or an IP address, without a port"
                raise ConfigError(f"--host: {text[:80]!r} is none; {allowed}") from None
        if host not in hosts:
            hosts.append(host)
    return hosts


def _ca(folder: Path) -> Pair:
    from .certificates import CertificateError, read_pair

    files = folder / "ca.crt", folder / "ca.key"
    if missing := next((file for file in files if not file.exists()), None):
        raise CertificateError(f"{missing}: no such file; `svcdns certs init --dir {folder}` makes a CA")
    try:
        return read_pair(files[0].read_bytes(), files[1].read_bytes())
    except CertificateError as wrong:
        raise CertificateError(f"{files[0]}: {wrong}") from None


def _write(folder: Path, name: str, pair: Pair) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    atomic_write(folder / f"{name}.key", pair.key_pem)
    atomic_write(folder / f"{name}.crt", pair.certificate_pem, mode=0o644)
