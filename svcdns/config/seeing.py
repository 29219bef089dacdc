"""The sections about seeing what is there and what is asked: [console], [tap], [query_log] and [dnstap].

Standard library only.
"""

# No `from __future__ import annotations` here: `options` reads the types, which are text with it.

import os.path
from dataclasses import dataclass

from . import readers as read
from .options import option
from .query_words import checked_word
from .readers import Wrong

STDERR = "stderr"
ON_DEMAND, ALWAYS, NEVER = "on_demand", "always", "never"
_MOST_SAMPLE = 1_000_000
_EACH = "(1 = each question)"
_MONTH = 30 * 86_400


def log_file(text: str) -> str:
    """Return "", "stderr", or an absolute path."""
    if text and text != STDERR and not _is_path(text):
        raise Wrong(f'{text[:80]!r} is no place for a log; allowed: an absolute path, or "{STDERR}"')
    return text


def dnstap_target(text: str) -> str:
    """Return "", or where frames go: unix:/PATH, tcp:HOST:PORT or file:/PATH."""
    kind, _, place = text.partition(":")
    if kind == "tcp" and place:
        where = read.endpoint(place)
        if where.port == 0:
            raise Wrong(f"{text[:80]!r} names no port; allowed: tcp:ADDRESS:PORT")
        return f"tcp:{where}"
    if text and not (kind in ("unix", "file") and _is_path(place)):
        allowed = "allowed: unix:/PATH, tcp:ADDRESS:PORT or file:/PATH"
        raise Wrong(f"{text[:80]!r} is no place for dnstap; {allowed}")
    return text


def _is_path(text: str) -> bool:
    return os.path.isabs(text) and text.isprintable() and not text.endswith("/")


def identity(text: str) -> str:
    """Return a name for this server, as it is sent to others."""
    if not text.isprintable() or len(text.encode()) > 255:
        raise Wrong(f"{text[:80]!r} is no name of a server; allowed: up to 255 octets of text")
    return text


@dataclass(frozen=True, slots=True)
class ConsoleConfig:
    """[console]: the page under /console/ of the API."""

    enabled: bool = option(True)
    """`false`: the API has no page, and nobody logs in to one."""
    idle: int = option(43_200, read.between(60, _MONTH, "seconds"))
    """Who logged in with a token is logged out after so long without a look (12 h); after 30 days in any
    case, and as soon as the token is revoked."""


@dataclass(frozen=True, slots=True)
class TapConfig:
    """[tap]: which questions are recorded, for `svcdns top`, `svcdns queries`, the query log and dnstap."""

    record: str = option(ON_DEMAND, read.one_of(ON_DEMAND, ALWAYS, NEVER))
    """`on_demand`: while somebody looks (`svcdns top`, `svcdns queries`), or `query_log` or `dnstap` is
    wanted; `always`: at all times, so that there is something to look back at; `never`: nothing can be
    seen."""
    sample: int = option(16, read.between(1, _MOST_SAMPLE, _EACH))
    """One question of so many is recorded for who looks; 1 is each. What counts is multiplied by it again."""
    octets: int = option(4 << 20, read.between(1 << 20, 1 << 30, "octets"))
    """Size of the memory of each DNS process for what it has recorded (4 MiB); taken only where it is
    used."""


@dataclass(frozen=True, slots=True)
class QueryLogConfig:
    """[query_log]: a line for each question."""

    path: str = option("", log_file)
    """File for the lines (an absolute path), or `stderr`; "" writes none. It is opened anew on SIGHUP, and
    when it was moved away."""
    format: str = option("json", read.one_of("json", "text", "coredns"))
    """`json`; `text`, for people; or `coredns`, the line that the plugin log of CoreDNS writes."""
    sample: int = option(1, read.between(1, _MOST_SAMPLE, _EACH))
    """A line for one question of so many."""
    include: tuple[str, ...] = option((), read.each(checked_word))
    """Which questions: those of which one of these words is true, such as `["servfail", "slow:50ms"]`; `[]`
    is all. See [seeing.md](seeing.md)."""
    exclude: tuple[str, ...] = option((), read.each(checked_word))
    """Which of them not, in the same words."""
    clients: str = option("full", read.one_of("full", "net", "none"))
    """Clients by their address, by their network (/24, of IPv6 /64), or not at all."""


@dataclass(frozen=True, slots=True)
class DnstapConfig:
    """[dnstap]: questions and replies as they came and went, for programs that read dnstap."""

    to: str = option("", dnstap_target)
    """Where to: `unix:/PATH`, `tcp:ADDRESS:PORT` or `file:/PATH`; "" is nowhere."""
    sample: int = option(1, read.between(1, _MOST_SAMPLE, _EACH))
    """One question of so many."""
    include: tuple[str, ...] = option((), read.each(checked_word))
    """Which questions, as in `[query_log]`."""
    exclude: tuple[str, ...] = option((), read.each(checked_word))
    """Which of them not."""
    queries: bool = option(True)
    """`false`: only replies are sent, which repeat the question; about half as much."""
    upstreams: bool = option(True)
    """What upstreams are asked and say is sent too (FORWARDER_QUERY, FORWARDER_RESPONSE)."""
    identity: str = option("", identity)
    """What this server is called there; "" is the name of the host."""
