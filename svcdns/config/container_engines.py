"""[[containers]]: an engine (Docker, Podman) whose containers are registered.  Standard library only."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from svcdns.system.similar_words import closest

from .options import Table
from .readers import Wrong, address, each, label_selector, namespace, one_of, shown, together

_ENDPOINTS = "unix:///run/docker.sock, or tcp://HOST:PORT with tls_ca, tls_cert and tls_key"
_LONGEST_NAME = 63
_MOST_SECONDS = 86_400


@dataclass(frozen=True, slots=True)
class ContainerEngine(Table):
    """[[containers]]: one engine, and what is taken of it."""

    endpoint: str
    """unix:///PATH or tcp://HOST:PORT."""
    name: str = ""
    """"" is what the engine says of itself."""
    expose: str = "all"
    """`all`, or `labelled`: only containers with svcdns.io/enable."""
    namespace: str = ""
    """All into this one; "" is that of each container."""
    namespaces: tuple[str, ...] = ()
    """The only ones that containers get into; empty: all."""
    network: str = ""
    host_address: str = ""
    """Where others reach this engine's host: for published ports, and containers on its network."""
    prefix_engine: bool = False
    """Whether names of Pods end in the engine's."""
    linger: int = 0
    """Seconds for which the Pod of a container that has ended stays, not ready."""
    stale_after: int = 0
    """Seconds without an answer after which no Pod of the engine is ready; 0: they stay as they were."""
    keep_orphans: bool = False
    """Whether objects of engines that are configured no more stay."""
    resync: int = 60
    """Seconds between two complete lists."""
    constraints: str = ""
    """A Kubernetes label selector over labels of containers."""
    tls_ca: str = ""
    tls_cert: str = ""
    tls_key: str = ""
    insecure: bool = False
    """Whether tcp:// without TLS may lead away from this machine."""


def container_engines(tables: Sequence[dict[str, Any]]) -> tuple[ContainerEngine, ...]:
    """Return the engines, from [[containers]]."""
    found: list[ContainerEngine] = []
    wrongs: list[Wrong] = []
    for number, table in enumerate(tables, 1):
        try:
            one = _engine(table)
            if any(other.endpoint == one.endpoint for other in found):
                raise Wrong(f"endpoint: {one.endpoint} is listed before; allowed: each engine once")
            if one.name and any(other.name == one.name for other in found):
                raise Wrong(f"name: {one.name} is another engine's; allowed: a name of its own")
            found.append(one)
        except Wrong as wrong:
            wrongs += [Wrong.in_table(number, f"engine {number}: {each_one}") for each_one in wrong.all]
    if len(tables) > 1 and not wrongs:
        text = 'of several engines each takes a name, by which its objects are known: name = "left"'
        wrongs = [Wrong.in_table(n, f"engine {n}: {text}") for n, one in enumerate(found, 1) if not one.name]
    if wrongs:
        raise together(wrongs)
    return tuple(found)


def _engine(table: Mapping[str, Any]) -> ContainerEngine:
    if unknown := sorted(set(table) - set(_READERS)):
        near = closest(unknown[0].lower(), _READERS)
        remedy = f"did you mean {near}?" if near else f"allowed: {', '.join(_READERS)}"
        raise Wrong(f"unknown key {unknown[0][:80]!r}; {remedy}")
    if "endpoint" not in table:
        raise Wrong(f"has no endpoint; allowed: {_ENDPOINTS}")
    values: dict[str, Any] = {}
    wrongs = []
    for key, written in table.items():
        try:
            values[key] = _READERS[key](written)
        except Wrong as wrong:
            wrongs += [Wrong(f"{key}: {one}") for one in wrong.all]
    if wrongs:
        raise together(wrongs)
    made = ContainerEngine(**values)
    if made.stale_after and not made.name:
        text = "an engine that is away can't say what it is called"
        raise Wrong(f'stale_after takes a name, as {text}; allowed: beside it name = "left"')
    _check_tls(made)
    return made


def _check_tls(one: ContainerEngine) -> None:
    """Refuse what would let others on the way read and change what the engine says."""
    files = [one.tls_ca, one.tls_cert, one.tls_key]
    if bool(one.tls_cert) != bool(one.tls_key):
        raise Wrong("tls_cert and tls_key belong together; allowed: both or none")
    if one.endpoint.startswith("unix:"):
        if any(files):
            raise Wrong("tls_ca, tls_cert and tls_key are for tcp://; allowed: none of them for unix://")
        return
    host = urlsplit(one.endpoint).hostname or ""
    if not any(files) and not one.insecure and not _is_loopback(host):
        text = f"endpoint: {one.endpoint} is on another machine and has no TLS"
        raise Wrong(
            f"{text}; allowed: tls_ca, tls_cert and tls_key, or insecure = true in a network you trust"
        )


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _text(read: Callable[[str], Any]) -> Callable[[Any], Any]:
    def checked(written: Any) -> Any:
        if not isinstance(written, str):
            raise Wrong(f'{shown(written)} is no text; write it "in quotes"')
        return read(written)

    return checked


def _endpoint(text: str) -> str:
    try:
        parts = urlsplit(text)
        good = (
            (parts.scheme == "unix" and not parts.netloc and len(parts.path) > 1)
            or (parts.scheme == "tcp" and parts.hostname and parts.port and parts.path in ("", "/"))
        ) and not (parts.query or parts.fragment or "@" in text or text.splitlines() != [text])
    except ValueError:
        good = False
    if not good:
        raise Wrong(f"{text[:80]!r} is no engine; allowed: {_ENDPOINTS}")
    return text.rstrip("/")


def _name(text: str) -> str:
    try:
        return namespace(text) if text else ""
    except Wrong:
        allowed = f"1 to {_LONGEST_NAME} lower-case letters, digits and inner '-'"
        raise Wrong(f"{text[:80]!r} is no name of an engine; allowed: {allowed}") from None


def _switch(written: Any) -> bool:
    if not isinstance(written, bool):
        raise Wrong(f"{shown(written)} is neither true nor false; write one of them, without quotes")
    return written


def _seconds(least: int) -> Callable[[Any], int]:
    def read(written: Any) -> int:
        from svcdns.objects.durations import seconds_of  # here: only who has engines pays for it

        try:
            if isinstance(written, bool) or not isinstance(written, (int, str)):
                raise ValueError
            found = int(seconds_of(written)) if isinstance(written, str) else written
        except ValueError:
            raise Wrong(f'{shown(written)} is no time; allowed: such as "60s"') from None
        if not least <= found <= _MOST_SECONDS:
            raise Wrong(f'{shown(written)} is out of range; allowed: "{least}s" to "24h"')
        return found

    return read


def _namespaces(written: Any) -> tuple[str, ...]:
    if not isinstance(written, (list, tuple)) or not all(isinstance(one, str) for one in written):
        raise Wrong(f'{shown(written)} is no list of texts; allowed: such as ["shop"], or [] for all')
    return each(namespace)(written)


def _file(text: str) -> str:
    if text and not Path(text).is_absolute():
        raise Wrong(f"{text[:80]!r} is relative; allowed: the whole path of a file (PEM)")
    return text


_READERS: dict[str, Callable[[Any], Any]] = {
    "endpoint": _text(_endpoint),
    "name": _text(_name),
    "expose": _text(one_of("all", "labelled")),
    "namespace": _text(lambda text: namespace(text) if text else ""),
    "namespaces": _namespaces,
    "network": _text(str),
    "host_address": _text(lambda text: address(text) if text else ""),
    "prefix_engine": _switch,
    "linger": _seconds(0),
    "stale_after": _seconds(0),
    "keep_orphans": _switch,
    "resync": _seconds(1),
    "constraints": _text(label_selector),
    "tls_ca": _text(_file),
    "tls_cert": _text(_file),
    "tls_key": _text(_file),
    "insecure": _switch,
}
