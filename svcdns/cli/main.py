"""The command line: puts the commands together, each of which has a file of its own.

Rules:

* a mistake of the user's ends with one line on stderr and exit code 2; what the machine refuses (a
  port in use, a locked data folder) with exit code 1; no traceback for either;
* each command imports what it needs when it runs, so that `svcdns query` starts fast.
"""

from __future__ import annotations

import os
import sys
from typing import Any

import typer

from svcdns.config.sections import ConfigError

from . import cache, certs, proxy, token
from .add import add, ready, remove, unready
from .apply import apply, delete
from .backup import backup, restore
from .check import check
from .get import get
from .kubeconfig import kubeconfig
from .outcome import MISTAKE, OK, REFUSED, Refused, say
from .query import query
from .register import register
from .resolvconf import resolvconf
from .serve import serve
from .status import status
from .upgrade import reload, upgrade
from .version import version
from .why import why

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

    svcdns serve
    svcdns add cache --port redis=6379 10.0.0.5 10.0.0.6
    svcdns why cache
    dig @127.0.0.1 -p 1053 cache.default.svc.cluster.local
""",
)

app.add_typer(certs.app, name="certs")
app.add_typer(token.app, name="token")
app.add_typer(cache.app, name="cache")
app.add_typer(proxy.app, name="proxy")
COMMANDS = (
    *(serve, add, register, remove, ready, unready, why, status, get, apply, delete),
    *(query, check, upgrade, reload, backup, restore, kubeconfig, resolvconf, version),
)
for command in COMMANDS:
    app.command()(command)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; always ends in SystemExit."""
    given = sys.argv[1:] if arguments is None else arguments
    try:
        code: Any = app(args=given or ["--help"], prog_name="svcdns", standalone_mode=False)
    except ConfigError as wrong:
        say(str(wrong))
        code = MISTAKE
    except Refused as refused:
        say(str(refused))
        code = REFUSED
    except KeyboardInterrupt:
        code = 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nothing more to flush
        code = REFUSED
    except Exception as wrong:
        if not isinstance(wrong, _USAGE_ERROR):
            raise
        say(f"{getattr(wrong, 'format_message', wrong.__str__)()} (see svcdns --help)")
        code = MISTAKE
    sys.exit(code or OK)
