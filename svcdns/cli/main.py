"""The command line: serve, check, upgrade, query, resolvconf, kubeconfig, version; the groups of commands
(certs, token, cache) have files of their own.

Rules:

* a mistake of the user's ends with one line on stderr and exit code 2; what the machine refuses (a
  port in use, a locked data folder) with exit code 1; no traceback for either;
* each command imports what it needs when it runs, so that `svcdns query` starts fast.
"""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from svcdns.config.sections import Config, ConfigError

from . import cache
from . import certs as cli_certs
from . import token as cli_token
from .refused import Refused

OK, REFUSED, MISTAKE = 0, 1, 2
"""Exit codes."""

_USAGE_ERROR = typer.BadParameter.__mro__[1]
"""What is raised for flags and commands that don't exist, whichever click typer brings along."""

app = typer.Typer(
    name="svcdns",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    help="""Kubernetes Services without Kubernetes: register Services and Pods over REST, and every name
answers over DNS as it does in a cluster.

Start it, register something, ask for it:

    svcdns serve --manifests examples
    curl -s http://127.0.0.1:8053/api/v1/services
    svcdns query web.default.svc.cluster.local
    dig @127.0.0.1 -p 1053 web.default.svc.cluster.local
""",
)

app.add_typer(cli_certs.app, name="certs")
app.add_typer(cli_token.app, name="token")
app.add_typer(cache.app, name="cache")

_ConfigFlag = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE", envvar="SVCDNS_CONFIG", help="Configuration (TOML)."),
]


@app.command()
def serve(
    config: _ConfigFlag = None,
    dns: Annotated[
        list[str] | None,
        typer.Option("--dns", metavar="HOST:PORT", help="Answer DNS here, UDP and TCP; may be repeated."),
    ] = None,
    api: Annotated[
        str | None, typer.Option("--api", metavar="HOST:PORT", help="Serve the REST API here.")
    ] = None,
    data: Annotated[
        str | None, typer.Option("--data", metavar="DIR", help="Keep the state here; made where missing.")
    ] = None,
    manifests: Annotated[
        list[str] | None,
        typer.Option(
            "--manifests",
            metavar="PATH",
            help="Apply this YAML or JSON file, or a folder of them, at start; may be repeated.",
        ),
    ] = None,
    workers: Annotated[
        str | None, typer.Option("--workers", metavar="N", help="DNS processes; 0 is one for each core.")
    ] = None,
    log: Annotated[
        str | None, typer.Option("--log", metavar="LEVEL", help="debug, info, warning or error.")
    ] = None,
) -> None:
    """Serve DNS and the REST API until told to end (Ctrl-C or SIGTERM).

    Flags win over SVCDNS_* variables (SVCDNS_DNS_TTL=30), these over the file, this over the
    defaults: DNS on 127.0.0.1:1053, API on 127.0.0.1:8053, state in ./svcdns-data.

    Examples:

        svcdns serve --manifests examples

        svcdns serve --config svcdns.toml --workers 2

        svcdns serve --dns 192.0.2.53:53 --dns '[2001:db8::53]:53' --data /var/lib/svcdns
    """
    flags = {
        "dns.listen": tuple(dns) if dns else None,
        "api.listen": api,
        "data": data,
        "manifests": tuple(manifests) if manifests else None,
        "dns.workers": _number(workers),
        "log": log,
    }
    from svcdns.server import succession

    try:
        legacy = succession.take(os.environ)
    except succession.UnknownVersion as unknown:
        raise Refused(str(unknown)) from None
    if legacy is not None and legacy.successor:
        _succeed(legacy)
    resolved = _load(config, flags)

    from svcdns.server import preflight

    for mistake in [*preflight.mistakes(resolved.api), *preflight.dns_mistakes(resolved)]:
        raise ConfigError(mistake)

    if legacy is not None:
        _rehearse(legacy, resolved)

    from svcdns.server import logs, supervisor

    logs.set_up(resolved.log)
    for warning in preflight.dns_warnings(resolved):
        logging.getLogger(__name__).warning("%s", warning)
    raise typer.Exit(supervisor.run(resolved))


def _succeed(legacy: Any) -> NoReturn:
    """Go on from a running server's former program, with the configuration that was read in the rehearsal."""
    from svcdns.config.load import from_json
    from svcdns.server import logs, supervisor

    resolved = from_json(legacy.successor)
    logs.set_up(resolved.log)
    raise typer.Exit(supervisor.run(resolved, legacy=legacy))


def _rehearse(legacy: Any, resolved: Config) -> NoReturn:
    """Say whether this code could take over a running server; print the configuration if so."""
    from svcdns.config.load import to_json

    from .rehearse import mistakes

    found = mistakes(legacy, resolved)
    for line in found:
        _say(line)
    if not found:
        typer.echo(to_json(resolved))
    raise typer.Exit(MISTAKE if found else OK)


@app.command()
def check(config: _ConfigFlag = None) -> None:
    """Check the configuration, its zone files and its manifests, without starting anything.

    Every mistake is one line that says where it stands. Exit code 0 when there is none, 2 otherwise.

    Example:

        svcdns check --config svcdns.toml
    """
    resolved = _load(config, {})

    from svcdns.server import preflight

    from . import check

    mistakes, there = check.check(resolved)
    mistakes = [*preflight.mistakes(resolved.api), *preflight.dns_mistakes(resolved), *mistakes]
    warnings = [] if mistakes else preflight.warnings(resolved.api)
    for line in mistakes or [
        *warnings,
        *preflight.dns_warnings(resolved),
        *preflight.resolv_conf_warnings(resolved),
    ]:
        _say(line)
    if mistakes:
        raise typer.Exit(MISTAKE)
    typer.echo(f"{config or 'defaults'}: no mistakes; {there}")


@app.command()
def upgrade(
    config: _ConfigFlag = None,
    data: Annotated[
        str | None, typer.Option("--data", metavar="DIR", help="The server's data folder, if not as there.")
    ] = None,
) -> None:
    """Have a running server become the version, and take the configuration, that are there now.

    No question is lost: the new version checks its configuration first, then starts beside the old one on the
    same sockets. The process stays the same. Exit code 0 when the new version answers; 1 when not, and then
    the old one goes on and the last line says why. SIGUSR2 to the server does the same.

    Examples:

        pip install --upgrade svcdns && svcdns upgrade --data /var/lib/svcdns

        svcdns upgrade --config /etc/svcdns/svcdns.toml
    """
    from .upgrade import upgrade as upgraded

    folder = Path(data) if data is not None else _load(config, {}).data
    upgraded(folder.absolute(), typer.echo)


@app.command()
def query(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A domain name; an address asks for its name.")],
    type: Annotated[
        str | None, typer.Argument(metavar="TYPE", help="A, AAAA, SRV, PTR, TXT ...; A where left out.")
    ] = None,
    server: Annotated[
        str | None,
        typer.Option("--server", metavar="HOST:PORT", help="Whom to ask; the local svcdns where left out."),
    ] = None,
    timeout: Annotated[
        float,
        typer.Option("--timeout", metavar="SECONDS", min=0.01, max=3600.0, help="For each of UDP and TCP."),
    ] = 5.0,
) -> None:
    """Ask a DNS server: a dig for places that have none.

    Asks over UDP, and over TCP where the answer was cut. Exit code 0 when there is an answer, 1 when
    there is none, 2 for a mistake in the question.

    Examples:

        svcdns query web.default.svc.cluster.local

        svcdns query _http._tcp.web.default.svc.cluster.local SRV

        svcdns query 10.96.0.1

        svcdns query dns-version.cluster.local TXT --server 127.0.0.1:1053
    """
    from .query import Mistake, NoAnswer, ask

    try:
        text, answered = ask(name, type, server, timeout, os.environ)
    except Mistake as wrong:
        _say(str(wrong))
        raise typer.Exit(MISTAKE) from None
    except NoAnswer as failed:
        _say(str(failed))
        raise typer.Exit(REFUSED) from None
    typer.echo(text)
    raise typer.Exit(OK if answered else REFUSED)


@app.command()
def resolvconf(
    namespace: Annotated[
        str, typer.Option("--namespace", "-n", metavar="NS", help="Whose short names are resolved.")
    ] = "default",
    ndots: Annotated[
        int, typer.Option("--ndots", metavar="N", help="Names with fewer dots try the search list first.")
    ] = 5,
    nameserver: Annotated[
        list[str] | None,
        typer.Option(
            "--nameserver", metavar="ADDRESS", help="Ask there; may be repeated. Else the server's own."
        ),
    ] = None,
    config: _ConfigFlag = None,
    data: Annotated[
        str | None, typer.Option("--data", metavar="DIR", help="The server's data folder, if not as there.")
    ] = None,
) -> None:
    """Print the resolv.conf with which a container resolves names as a Pod of a namespace does.

    Its addresses are those of the server that runs on the data folder; where none does, those of dns.listen.
    The API gives the same text: GET /resolv.conf?namespace=NS

    Examples:

        svcdns resolvconf --namespace shop > shop.resolv.conf

        docker run -v $PWD/shop.resolv.conf:/etc/resolv.conf:ro alpine nslookup web

        podman run -v $PWD/shop.resolv.conf:/etc/resolv.conf:ro alpine nslookup web

        svcdns resolvconf --namespace shop --nameserver 192.0.2.53 --ndots 1
    """
    from .resolvconf import text

    file, warning = text(_load(config, {"data": data}), namespace, ndots, nameserver or ())
    typer.echo(file, nl=False)
    if warning:
        _say(warning)


@app.command()
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
    config: _ConfigFlag = None,
) -> None:
    """Write what kubectl needs to talk to a running server, with certificates and keys in it.

    Examples:

        svcdns kubeconfig --certs certs > admin.kubeconfig

        svcdns kubeconfig --server https://dns.example.org:8053 --ca certs/ca.crt --token - -o ci.kubeconfig
    """
    from .kubeconfig import Credentials, server_of, write
    from .kubeconfig import kubeconfig as made

    token = sys.stdin.readline().strip() if token == "-" else token
    if certs is not None and client_cert is None:
        credentials = Credentials.of_folder(certs, ca, token)
    else:
        credentials = Credentials(ca or (certs / "ca.crt" if certs else None), token, client_cert, client_key)
    text, warning = made(server or server_of(_load(config, {})), credentials, namespace, name)
    write(text, output)
    if warning:
        _say(warning)


@app.command()
def version() -> None:
    """Print the version."""
    from svcdns import __version__

    typer.echo(f"svcdns {__version__}")


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; always ends in SystemExit."""
    given = sys.argv[1:] if arguments is None else arguments
    try:
        code: Any = app(args=given or ["--help"], prog_name="svcdns", standalone_mode=False)
    except ConfigError as wrong:
        _say(str(wrong))
        code = MISTAKE
    except Refused as refused:
        _say(str(refused))
        code = REFUSED
    except KeyboardInterrupt:
        code = 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nothing more to flush
        code = REFUSED
    except Exception as wrong:
        if not isinstance(wrong, _USAGE_ERROR):
            raise
        _say(f"{getattr(wrong, 'format_message', wrong.__str__)()} (see svcdns --help)")
        code = MISTAKE
    sys.exit(code or OK)


def _load(file: Path | None, flags: dict[str, Any]) -> Config:
    from svcdns.config.load import load

    return load(file, os.environ, flags)


def _number(text: str | None) -> Any:
    """Return a flag's whole number; what is none stays as it is, for `load` to refuse."""
    return int(text) if text is not None and text.removeprefix("-").isdecimal() and len(text) < 10 else text


def _say(text: str) -> None:
    print(f"svcdns: {' '.join(text.split())}", file=sys.stderr)
