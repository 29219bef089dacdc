"""The kernel engine's tables as text that `nft -f` loads, made from the same data as the messages.

What it makes is what the engine makes, but for the owner: a table that nft loaded belongs to nobody.  Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from ipaddress import IPv4Address, IPv6Address, summarize_address_range

from svcdns.cluster.traffic_plan import Frontend, Host, Rule
from svcdns.netlink.nft_statements import rule_text
from svcdns.netlink.nft_types import Set, Type, fields, show
from svcdns.proxy.kernel_elements import Contents, Key, Operations, Value
from svcdns.proxy.kernel_rules import BASE_CHAINS, COMMENT, LAYOUTS, TABLE, Layout


def ruleset_text(rules: Mapping[Frontend, Rule], host: Host) -> str:
    """Return both tables with these rules, as a file that replaces what stands."""
    return "\n".join(line for layout in LAYOUTS.values() for line in _table(layout, rules, host)) + "\n"


def _table(layout: Layout, rules: Mapping[Frontend, Rule], host: Host) -> Iterator[str]:
    family = layout.family.name
    mine = {one: rule for one, rule in rules.items() if LAYOUTS[one.family] == layout}
    operations = Contents(layout).plan(mine, host).operations
    yield f"add table {family} {TABLE}"  # so that it can be deleted, whether it is there or not
    yield f"delete table {family} {TABLE}"
    yield f"table {family} {TABLE} {{"
    yield f'\tcomment "{COMMENT}"'
    for declared in (*layout.sets(), *operations.sets):
        yield from _set(declared, operations)
    for name, chain in (layout.chains() | operations.chains).items():
        yield f"\tchain {name} {{"
        yield from (f"\t\t{line}" for line in _hook(name))
        yield from (f"\t\t{rule_text(rule)}" for rule in chain)
        yield "\t}"
    yield "}"


def _hook(name: str) -> Iterator[str]:
    for one in BASE_CHAINS:
        if one.name == name:
            hook = one.hook.name.lower()
            yield f"type {one.kind} hook {hook} priority {one.priority}; policy accept;"


def _set(declared: Set, operations: Operations) -> Iterator[str]:
    yield f"\t{'map' if declared.is_map else 'set'} {declared.name} {{"
    yield from (f"\t\t{line}" for line in declared.declaration().split("; "))
    if elements := operations.added.get(declared.name):
        yield "\t\telements = {"
        yield from (f"\t\t\t{_element(declared, *one)}," for one in elements)
        yield "\t\t}"
    yield "\t}"


def _element(declared: Set, key: Key, value: Value) -> str:
    written = show(declared.key, key) if isinstance(key, bytes) else _ranges(declared.key, *key)
    if isinstance(declared.data, tuple) and isinstance(value, bytes):
        value = show(declared.data, value)
    return f"{written} : {value}" if isinstance(value, str) else written


def _ranges(types: tuple[Type, ...], first: bytes, last: bytes) -> str:
    """Return a key of which some fields are networks."""
    ends = zip(types, fields(types, first), fields(types, last), strict=True)
    return " . ".join(kind.show(low) if low == high else _network(low, high) for kind, low, high in ends)


def _network(low: bytes, high: bytes) -> str:
    make: Iterable[object]
    if len(low) == 4:
        make = summarize_address_range(IPv4Address(low), IPv4Address(high))
    else:
        make = summarize_address_range(IPv6Address(low), IPv6Address(high))
    return str(next(iter(make)))
