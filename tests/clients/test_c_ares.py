"""c-ares, which curl, Node and aiodns resolve by: search lists, SRV, flips, and names that are not there."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from clients.resolving import BOTH, CLUSTER_IP, DB, NO_A, NOWHERE, SEARCH, SRV, WEB, ZONE, Resolving
from toolbox.waiting import GUARD_SECONDS


@pytest.fixture(scope="module")
def resolving(need: Callable[..., str]) -> Iterator[Resolving]:
    need(module="pycares")
    with Resolving() as made:
        yield made


class Channel:
    """c-ares with a search list as in a Pod; answers are sorted, or the one word of a refusal."""

    def __init__(self, resolving: Resolving, *, tcp: bool = False) -> None:
        import pycares

        host, port = resolving.dns
        self._pycares = pycares
        self._channel = pycares.Channel(
            servers=[f"{host}:{port}"],
            domains=list(SEARCH),
            ndots=5,
            lookups="b",  # DNS alone, no /etc/hosts
            flags=pycares.ARES_FLAG_USEVC if tcp else pycares.ARES_FLAG_EDNS,
            tries=1,
            timeout=GUARD_SECONDS / 2,
        )

    def query(self, name: str, rrtype: str) -> list[str]:
        """Ask for one type of a whole name."""
        number = getattr(self._pycares, f"QUERY_TYPE_{rrtype}")
        return self._ask(lambda done: self._channel.query(name, number, callback=done))

    def search(self, name: str) -> list[str]:
        """Look up a host's addresses of both families, with the search list."""
        return self._ask(
            lambda done: self._channel.getaddrinfo(name, 80, type=socket.SOCK_STREAM, callback=done)
        )

    def _ask(self, ask: Callable[[Callable[[Any, int | None], None]], None]) -> list[str]:
        answers: list[tuple[Any, int | None]] = []
        ask(lambda result, error: answers.append((result, error)))
        self._channel.wait(GUARD_SECONDS)
        ((result, error),) = answers
        if error is not None:
            return [self._pycares.errno.errorcode[error]]
        return sorted(self._texts(result))

    def _texts(self, result: Any) -> Iterator[str]:
        if hasattr(result, "nodes"):
            for node in result.nodes:
                yield node.addr[0].decode() if isinstance(node.addr[0], bytes) else node.addr[0]
            return
        for record in result.answer:
            data = record.data
            yield data.addr if hasattr(data, "addr") else f"{data.port} {data.target}"


@pytest.mark.parametrize("tcp", [False, True], ids=["udp", "tcp"])
def test_whole_names(resolving: Resolving, tcp: bool) -> None:
    channel = Channel(resolving, tcp=tcp)
    assert channel.query(WEB, "A") == [CLUSTER_IP]
    assert channel.query(DB, "A") == BOTH
    targets = [target.removeprefix(f"{resolving.port} ") for target in channel.query(SRV, "SRV")]
    assert sorted(channel.query(targets[0], "A") + channel.query(targets[1], "A")) == BOTH


def test_search_lists(resolving: Resolving) -> None:
    channel = Channel(resolving)
    for name in ("db", "db.default", "db.default.svc", DB, f"{DB}.", "alias"):
        assert channel.search(name) == BOTH, name


def test_names_that_are_not_there_and_types_that_are_not(resolving: Resolving) -> None:
    channel = Channel(resolving)
    assert channel.query(NOWHERE, "A") == ["ARES_ENOTFOUND"]
    assert channel.query(WEB, "AAAA") == channel.query(NO_A, "A") == ["ARES_ENODATA"]
    assert channel.search(f"nowhere.{ZONE}.") == ["ARES_ENOTFOUND"]
    assert channel.search("web") == [CLUSTER_IP]


def test_flips(resolving: Resolving) -> None:
    channel = Channel(resolving)
    resolving.follows_flips(lambda: channel.search("db"))
