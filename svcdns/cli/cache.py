"""`svcdns cache`: what a running server remembers of the answers of others.

The forwarder of the server is told so through a socket in the data folder (svcdns.forward.control), so
this works where the folder is, for the user whose it is.
"""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path
from typing import Annotated, Any

import typer

from svcdns.config.sections import Config, ConfigError

from .outcome import Refused

SECONDS = 60.0
"""For a large cache, on a machine that has other things to do."""
_MOST_OCTETS = 4096

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
    config: Annotated[
        Path | None,
        typer.Option("--config", metavar="FILE", envvar="SVCDNS_CONFIG", help="The server's configuration."),
    ] = None,
    data: Annotated[
        str | None, typer.Option("--data", metavar="DIR", help="The server's data folder, if not as there.")
    ] = None,
) -> None:
    """Forget the remembered answers of a name and of all names below it, or all of them.

    They are asked for anew when somebody asks next. Exit code 1 when no server runs there, or it forwards
    nothing; 2 for what is no name.

    Examples:

        svcdns cache flush

        svcdns cache flush example.com --config /etc/svcdns/svcdns.toml
    """
    from svcdns.config.load import load

    wanted = None if name is None else _name(name)
    resolved = load(config, os.environ, {"data": data})
    flushed = _tell(resolved, {"flush": wanted})
    typer.echo(f"flushed {flushed} answer{'' if flushed == 1 else 's'}")


def _name(text: str) -> str:
    """Return a name as the forwarder reads it.  Raises ConfigError."""
    import dns.name

    from svcdns.forward.control import BadRequest, key_of_text

    try:
        key_of_text(text)
    except BadRequest as wrong:
        raise ConfigError(str(wrong)) from None
    return dns.name.from_text(text).to_text()


def _tell(config: Config, line: dict[str, Any]) -> int:
    """Send one line to the forwarder; return how many answers it forgot.  Raises Refused."""
    from svcdns.forward.control import address_in

    try:
        with address_in(config.data) as address, socket.socket(socket.AF_UNIX) as there:
            there.settimeout(SECONDS)
            there.connect(address)
            there.sendall(json.dumps(line).encode() + b"\n")
            return _flushed(_line(there))
    except (FileNotFoundError, NotADirectoryError, ConnectionRefusedError):
        raise Refused(_nobody(config)) from None
    except TimeoutError:
        raise Refused(f"the server on {config.data} did not answer within {SECONDS:g} s") from None
    except (ValueError, ConnectionError):
        raise Refused(f"the server on {config.data} ended before it answered; try again") from None
    except OSError as failed:
        text = (failed.strerror or str(failed)).lower()
        remedy = "; run it as root or as the user whose the folder is" * isinstance(failed, PermissionError)
        raise Refused(f"the server on {config.data} can't be reached: {text}{remedy}") from None


def _flushed(line: bytes) -> int:
    """Return how many answers a reply tells of.  Raises Refused, ValueError for what is no reply."""
    match json.loads(line):
        case {"flushed": int(count)}:
            return count
        case {"error": str(text)}:
            raise Refused(text)
    raise ValueError


def _line(there: socket.socket) -> bytes:
    octets = b""
    while not octets.endswith(b"\n") and len(octets) < _MOST_OCTETS:
        part = there.recv(_MOST_OCTETS)
        if not part:
            break
        octets += part
    return octets


def _nobody(config: Config) -> str:
    from svcdns.config.listening import is_running

    if is_running(config):
        return f"the server on {config.data} can forget nothing now: its log says why"
    return f"no server runs on {config.data}; allowed: --data or --config of one that does"
