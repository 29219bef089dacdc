"""What is written as tables: [[forward.zone]], a zone that is asked for elsewhere, and [[api.grant]], who may
do what.  Standard library only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from svcdns.system.similar_words import closest

from .options import Table
from .readers import Wrong, each, namespace, shown, together, zone
from .upstream_spec import upstream

POLICIES = ("sequential", "random", "round_robin")
"""In which order upstreams that answer are tried."""

ROLES = ("view", "node", "edit", "admin", "heartbeat")
"""What one may be granted (see svcdns.api.auth.authorization); the first is the least of those who read."""


@dataclass(frozen=True, slots=True)
class ForwardZone(Table):
    """[[forward.zone]]: a zone whose names are asked for elsewhere than all others."""

    name: str
    """Its origin, in lower case without the last dot."""
    upstreams: tuple[str, ...]
    policy: str = POLICIES[0]


@dataclass(frozen=True, slots=True)
class Grant(Table):
    """[[api.grant]]: what a user, or a group of users, may do; one of the two is ""."""

    user: str = ""
    group: str = ""
    role: str = ROLES[0]
    namespaces: tuple[str, ...] = ()
    """Empty: in all namespaces."""


def forward_zones(tables: Sequence[dict[str, Any]]) -> tuple[ForwardZone, ...]:
    """Return the zones that are asked for elsewhere, from [[forward.zone]]."""
    found: dict[str, ForwardZone] = {}
    wrongs: list[Wrong] = []
    for number, table in enumerate(tables, 1):
        try:
            one = _zone(table)
            if one.name in found:
                raise Wrong(f"{one.name} is listed before; allowed: each zone once, with all its upstreams")
        except Wrong as wrong:
            wrongs += [Wrong.in_table(number, f"zone {number}: {each_one}") for each_one in wrong.all]
        else:
            found[one.name] = one
    if wrongs:
        raise together(wrongs)
    return tuple(found.values())


def _zone(table: dict[str, Any]) -> ForwardZone:
    keys = ("name", "upstreams", "policy")
    if unknown := sorted(set(table) - set(keys)):
        near = closest(unknown[0].lower(), keys)
        remedy = f"did you mean {near}?" if near else f"allowed: {', '.join(keys)}"
        raise Wrong(f"unknown key {unknown[0][:80]!r}; {remedy}")
    name, upstreams = _origin(table.get("name")), _upstreams(table.get("upstreams"))
    policy = table.get("policy", POLICIES[0])
    if policy not in POLICIES:
        raise Wrong(f"policy: {shown(policy)} is not known; allowed: {', '.join(POLICIES)}")
    return ForwardZone(name, upstreams, policy)


def _origin(name: Any) -> str:
    if not isinstance(name, str):
        what = "has no name" if name is None else f"name: {shown(name)} is no text"
        raise Wrong(f'{what}; allowed: the name of a zone, such as name = "corp.example"')
    if name.strip() == ".":
        allowed = "allowed: a zone here, and upstreams in [forward] for all others"
        raise Wrong(f'name: "." is every name; {allowed}')
    try:
        return zone(name)
    except Wrong:
        raise Wrong(f"name: {name[:80]!r} is no zone name; allowed: such as corp.example") from None


def _upstreams(texts: Any) -> tuple[str, ...]:
    allowed = 'allowed: one or more, such as upstreams = ["192.0.2.53"]'
    if texts is None:
        raise Wrong(f"has no upstreams; {allowed}")
    if not _are_texts(texts):
        raise Wrong(f"upstreams: {shown(texts)} is no list of texts; {allowed}")
    if not texts:
        raise Wrong(f"upstreams: the list is empty; {allowed}")
    return _list("upstreams", upstream, texts)


def grants(tables: Sequence[dict[str, Any]]) -> tuple[Grant, ...]:
    """Return who may do what, from [[api.grant]]."""
    found: list[Grant] = []
    wrongs: list[Wrong] = []
    for number, table in enumerate(tables, 1):
        try:
            found.append(_grant(table, f"grant {number}"))
        except Wrong as wrong:
            wrongs += [Wrong.in_table(number, str(one)) for one in wrong.all]
    if wrongs:
        raise together(wrongs)
    return tuple(found)


def _grant(table: dict[str, Any], what: str) -> Grant:
    if unknown := sorted(set(table) - {"user", "group", "role", "namespaces"}):
        raise Wrong(f"{what}: unknown key {unknown[0][:80]!r}; allowed: user, group, role, namespaces")
    who = [table.get("user", ""), table.get("group", "")]
    if not all(isinstance(word, str) and word.isprintable() for word in who) or bool(who[0]) == bool(who[1]):
        raise Wrong(f'{what}: says not whom it is for; allowed: either user = "NAME" or group = "NAME"')
    role = table.get("role")
    if role not in ROLES:
        raise Wrong(f"{what}: role {str(role)[:80]!r} is not known; allowed: {', '.join(ROLES)}")
    among = table.get("namespaces", [])
    if among in ("*", ["*"]):
        among = []
    if not _are_texts(among):
        raise Wrong(f'{what}: namespaces is no list of texts; allowed: such as ["shop"], or [] for all')
    return Grant(who[0], who[1], role, _list(f"{what}: namespaces", namespace, among))


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(text, str) for text in value)


def _list(what: str, read: Callable[[str], str], texts: list[str]) -> tuple[str, ...]:
    """Read the list of a table's key; `what` is said in front of a mistake."""
    try:
        return each(read)(texts)
    except Wrong as wrong:
        raise wrong.reworded(lambda one: Wrong(f"{what}: {one}")) from None
