"""Operations on the kernel engine's table as messages of nf_tables, in an order that the kernel takes.

Chains first, then rules, then elements that lead to them; elements go before what they led to.  Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache

from svcdns.netlink import nftables
from svcdns.netlink.nft_expressions import Verdict, verdict_data
from svcdns.netlink.nft_statements import Rule, rule_octets
from svcdns.netlink.nft_types import Set
from svcdns.netlink.nftables import Element, ElementForm
from svcdns.netlink.wire import Message
from svcdns.proxy.kernel_elements import Key, Operations, Value
from svcdns.proxy.kernel_rules import BASE_CHAINS, COMMENT, TABLE, Layout

_VERDICTS = {"drop": Verdict.DROP, "return": Verdict.RETURN, "goto": Verdict.GOTO}


class TableMessages:
    """Makes the messages for the table of one family."""

    def __init__(self, layout: Layout) -> None:
        """Prepare what doesn't change."""
        self._layout = layout
        self._family = layout.family.number
        self._sets = {one.name: one for one in layout.sets()}
        self._forms = {name: ElementForm(one) for name, one in self._sets.items()}

    def table(self, flags: int) -> Message:
        """Make the table, or take it over."""
        return nftables.table(self._family, TABLE, flags, COMMENT)

    def delete(self, name: str = TABLE) -> Message:
        """Delete a table of ours."""
        return nftables.delete_table(self._family, name)

    def base(self) -> Iterator[Message]:
        """Yield what makes the constant sets, chains and rules in a table that has none of these rules."""
        yield from self._new_sets(self._sets.values())
        constant = self._layout.chains()
        for one in BASE_CHAINS:
            yield nftables.base_chain(self._family, TABLE, one.name, one.kind, one.hook, one.priority)
        yield from self._fill(constant, flush=False)

    def empty(self) -> Iterator[Message]:
        """Yield what takes all rules out of a table, and all elements out of the constant sets."""
        yield nftables.delete_rules(self._family, TABLE)
        for name in self._sets:
            yield nftables.flush_set(self._family, TABLE, name)

    def delete_stale(self, chains: Iterable[str], sets: Iterable[str]) -> Iterator[Message]:
        """Yield what deletes chains without rules, and sets that no rule uses."""
        for name in chains:
            yield nftables.delete_chain(self._family, TABLE, name)
        for name in sets:
            yield nftables.delete_set(self._family, TABLE, name)

    def changes(self, operations: Operations) -> Iterator[Message]:
        """Yield what does the operations."""
        yield from self._new_sets(operations.sets)
        yield from self._fill(operations.chains, flush=True)
        for name in operations.emptied:
            yield nftables.flush_set(self._family, TABLE, name)
        for name, keys in operations.removed.items():
            elements = (one for key in keys for one in self._element(name, key, b""))
            yield from nftables.delete_elements(self._family, TABLE, name, elements)
        for name, pairs in operations.added.items():
            elements = (one for key, value in pairs for one in self._element(name, key, value))
            yield from nftables.add_elements(self._family, TABLE, name, elements)
        for name in operations.gone_chains:
            yield nftables.delete_rules(self._family, TABLE, name)
        yield from self.delete_stale(operations.gone_chains, operations.gone_sets)

    def forget(self, clients: str, keys: Iterable[bytes], missing_is_fine: bool) -> Iterator[Message]:
        """Yield what takes clients out of a map."""
        elements = map(nftables.element, keys)
        return nftables.delete_elements(self._family, TABLE, clients, elements, missing_is_fine)

    def _new_sets(self, sets: Iterable[Set]) -> Iterator[Message]:
        for number, one in enumerate(sets, 1):
            yield nftables.new_set(self._family, TABLE, one, number)

    def _fill(self, chains: Mapping[str, tuple[Rule, ...]], flush: bool) -> Iterator[Message]:
        bases = {one.name for one in BASE_CHAINS}
        for name in chains:
            if name not in bases:
                yield nftables.chain(self._family, TABLE, name)
        for name, rules in chains.items():
            if flush:
                yield nftables.delete_rules(self._family, TABLE, name)
            for rule in rules:
                yield nftables.rule(self._family, TABLE, name, rule_octets(rule))

    def _element(self, name: str, key: Key, value: Value) -> tuple[Element, ...]:
        if isinstance(key, tuple):
            single = len(self._sets[name].key) == 1
            return nftables.interval(*key) if single else (nftables.range_element(*key),)
        if isinstance(value, str):
            return (nftables.element(key, _verdict(value)),)
        declared = self._sets[name]
        if not value and declared.is_map:  # to delete it, its key is enough
            return (nftables.element(key),)
        return (self._forms[name].element(key, value),)


@lru_cache(1024)
def _verdict(written: str) -> bytes:
    """Return a verdict as nft writes it as octets."""
    code, _, chain = written.partition(" ")
    return verdict_data(_VERDICTS[code], chain)
