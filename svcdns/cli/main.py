"""The command line: puts the commands together, each of which has a file of its own.

Rules:

* each mistake of the user's is one line on stderr, and the exit code is 2; what the machine refuses (a
  port in use, a locked data folder) with exit code 1; no traceback for either;
* Ctrl-C and a reader that goes away end a command without a word, as they end any program;
* each command imports what it needs when it runs, so that `svcdns query` starts fast.
"""

from __future__ import annotations

import errno
import os
import sys
from contextlib import suppress

import typer

from svcdns.config.sections import OPTIONS
from svcdns.system.similar_words import closest

from . import cache, certs, help_pages, proxy, token
from .add import AddCommand, add, ready, remove, unready
from .apply import apply, delete
from .backup import backup, restore
from .check import check
from .containers import containers
from .get import get
from .kubeconfig import kubeconfig
from .migrate import migrate
from .outcome import MISTAKE, OK, PIPE_CLOSED, REFUSED, code_of, say, write_any_letter
from .queries import queries
from .query import query
from .register import register
from .resolvconf import resolvconf
from .serve import serve
from .status import status
from .top import top
from .upgrade import reload, upgrade
from .version import version
from .wait import wait
from .why import why

_USAGE_ERROR = typer.BadParameter.__mro__[1]
"""What is raised for flags and commands that don't exist, whichever click typer brings along."""

app = typer.Typer(
    name="svcdns",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    help=help_pages.laid_out("""Kubernetes Services without Kubernetes: register Services and Pods over REST,
and every name answers over DNS as it does in a cluster.

Start it, register something, ask for it:

    svcdns serve
    svcdns add cache --port redis=6379 10.0.0.5 10.0.0.6
    svcdns why cache
    dig @127.0.0.1 -p 1053 cache.default.svc.cluster.local

Exit codes: 0 done; 1 the server, or what is registered, says no; 2 a mistake in what was typed. Results
go to stdout, messages to stderr.
"""),
)

COMMANDS = (
    *(serve, add, register, why, status, remove, get, containers, ready, unready, wait, apply, delete),
    *(query, queries, top, resolvconf, check, reload, upgrade, backup, restore, migrate, version, kubeconfig),
)
for command in COMMANDS:
    panel = help_pages.panel_of(command.__name__)
    kind = AddCommand if command is add else None
    app.command(cls=kind, help=help_pages.page(command), rich_help_panel=panel)(command)
for name, group in (("cache", cache.app), ("certs", certs.app), ("token", token.app), ("proxy", proxy.app)):
    for inner in group.registered_commands:
        if inner.callback is not None:
            inner.help = help_pages.page(inner.callback)
    app.add_typer(group, name=name, rich_help_panel=help_pages.panel_of(name))


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; always ends in SystemExit."""
    given = sys.argv[1:] if arguments is None else arguments
    write_any_letter()
    try:
        words = given or ["--help"]
        code = code_of(lambda: app(args=words, prog_name="svcdns", standalone_mode=False))
        sys.stdout.flush()
    except BrokenPipeError:
        _drop_the_rest()
        code = PIPE_CLOSED
    except SystemExit as ended:
        # click and rich end with 1 where a reader went away
        code = PIPE_CLOSED if isinstance(ended.__context__, BrokenPipeError) else ended.code
    except OSError as failed:
        if failed.errno not in (errno.ENOSPC, errno.EIO, errno.EDQUOT) or failed.filename is not None:
            raise
        _drop_the_rest()
        say(f"the result can't be written: {(failed.strerror or str(failed)).lower()}")
        code = REFUSED
    except UnicodeEncodeError as wrong:
        say(f"{wrong.object[:80]!r} can't be sent anywhere: it is no UTF-8")
        code = MISTAKE
    except Exception as wrong:
        if not isinstance(wrong, _USAGE_ERROR):
            raise
        say(_usage(wrong))
        code = MISTAKE
    sys.exit(code or OK)


def _drop_the_rest() -> None:
    """Leave nothing in stdout that Python would try to write at its end."""
    with suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _usage(wrong: Exception) -> str:
    """Return what is wrong with the command line, and where to read how it is right."""
    text = str(getattr(wrong, "format_message", wrong.__str__)())
    context = getattr(wrong, "ctx", None)
    command = context.command_path if context is not None else "svcdns"
    meant = _option_of_configuration(getattr(wrong, "option_name", ""), command)
    return f"{text}{meant} (see {command} --help)"


def _option_of_configuration(flag: str, command: str) -> str:
    """Return which option of the configuration an unknown flag of the server most likely means."""
    if not command.endswith((" serve", " check")) or not flag:
        return ""
    keys = {option.key: option for option in OPTIONS.values()}
    near = closest(flag.lstrip("-").replace("-", "_"), keys, 0.7)
    if near is None:
        return ""
    option = keys[near]
    where = f" of [{option.section}]" if option.section else ""
    place = f"a line in the file of --config, or {option.variable}"
    return f"; did you mean {near}{where}? That is {place} (docs/config.md)"
