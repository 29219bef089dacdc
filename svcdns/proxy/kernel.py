"""The engine `nft`: the kernel carries connections to Services, by a table of nf_tables for each family.

Rules:

* every method is one batch: all of it takes effect at once, or nothing does; only what is larger than may be
  sent (in a user namespace: net.core.wmem_max) goes in several, each whole frontends;
* a table outlives its process, and the next process takes it over (flags owner and persist, Linux 6.9):
  nobody else can change it meanwhile; where the kernel hasn't them, the table is open to all, as others are;
* old rules are never taken away before new ones stand: connections don't notice a restart;
* what the kernel turns out not to have, though we put it there, is put there again, all of it.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TypeVar

from svcdns.cluster.traffic_plan import Frontend, Host, Rule
from svcdns.netlink import nft_dump, nftables
from svcdns.netlink.nftables import TableFlag
from svcdns.netlink.wire import NETFILTER, Malformed, Message, NetlinkError, Socket
from svcdns.proxy.engine import EngineError
from svcdns.proxy.kernel_elements import Contents, Plan
from svcdns.proxy.kernel_messages import TableMessages
from svcdns.proxy.kernel_rules import BASE_CHAINS, COMMENT, LAYOUTS, TABLE, Layout

_DISTURBED = {errno.ENOENT, errno.EEXIST, errno.EBUSY, errno.EINVAL, errno.EOPNOTSUPP, errno.ENOTEMPTY}
"""What the kernel says where a table isn't as we left it."""
_NO_FAMILY = {errno.EOPNOTSUPP, errno.EAFNOSUPPORT, errno.EPROTONOSUPPORT}
_SWEEPS = 5
_RuleOrNone = TypeVar("_RuleOrNone", Rule, Rule | None)


class _Table:
    """The table of one family: what stands in it, and how it is said."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.family = layout.family.number
        self.messages = TableMessages(layout)
        self.contents = Contents(layout)


class KernelEngine:
    """Carries traffic by nf_tables in the network namespace that it is made in."""

    name = "nft"

    def __init__(self) -> None:
        """Open a socket and see what this kernel can.  Raises EngineError."""
        with _explained():
            self._socket = Socket(NETFILTER)
        try:
            with _explained():
                self._flags = _table_flags(self._socket)
                layouts = {f: one for f, one in LAYOUTS.items() if _has_family(self._socket, one)}
        except EngineError:
            self._socket.close()
            raise
        self._tables = {family: _Table(layout) for family, layout in layouts.items()}
        self._unswept: dict[tuple[int, str], frozenset[bytes]] = {}
        self._can_destroy = True
        self._handles: dict[int, int] = {}

    def close(self) -> None:
        """Let go of the tables: they stay in effect."""
        self._socket.close()

    @property
    def owns(self) -> bool:
        """Whether nobody else can change the tables: else call `repair` now and then."""
        return bool(self._flags)

    def held(self) -> Mapping[str, int]:
        """Return how many frontends, different endpoints, and elements of sets, the tables have."""
        contents = [table.contents for table in self._tables.values()]
        return {
            "elements": sum(sum(one.sizes.values()) for one in contents),
            "frontends": sum(len(one.held) for one in contents),
            "endpoints": sum(shared.name == "endpoints" for one in contents for shared in one.shared),
        }

    def replace(self, rules: Mapping[Frontend, Rule], host: Host) -> None:
        """Have exactly these rules.  Raises EngineError."""
        try:
            self._replace_at_once(rules, host)
        except EngineError as wrong:
            if _errno_of(wrong) != errno.EMSGSIZE or not rules:
                raise
            self._replace_at_once({}, host)  # meanwhile packets are dropped, not refused: clients try again
            self.apply(rules)

    def _replace_at_once(self, rules: Mapping[Frontend, Rule], host: Host) -> None:
        contents = {family: Contents(table.layout) for family, table in self._tables.items()}
        plans = {family: one.plan(_of(rules, family), host) for family, one in contents.items()}
        with _explained():
            try:
                nftables.commit(self._socket, self._refill(plans))
            except NetlinkError as wrong:
                if wrong.errno not in _DISTURBED:
                    raise
                nftables.commit(self._socket, self._recreate(plans))
            self._handles = self._standing()
        for family, table in self._tables.items():
            table.contents = contents[family]
        self._unswept.clear()
        self._accept(plans)

    def apply(self, changed: Mapping[Frontend, Rule | None], host: Host | None = None) -> None:
        """Change these frontends, and the host.  Raises EngineError."""
        tables = self._tables.items()
        plans = {family: table.contents.plan(_of(changed, family), host) for family, table in tables}
        changes = [
            message
            for family, table in tables
            for message in table.messages.changes(plans[family].operations)
        ]
        if not changes:
            self._accept(plans)
            return
        try:
            with _explained():
                nftables.commit(self._socket, changes)
        except EngineError as wrong:
            if _errno_of(wrong) in _DISTURBED:
                self._restore(changed, host)
            elif _errno_of(wrong) == errno.EMSGSIZE and len(changed) > 1:
                self._apply_in_halves(changed, host)
            else:
                raise
            return
        self._accept(plans)

    def _apply_in_halves(self, changed: Mapping[Frontend, Rule | None], host: Host | None) -> None:
        """Change some frontends, then the others: in a user namespace less may be sent at once."""
        frontends = list(changed)
        middle = len(frontends) // 2
        self.apply({one: changed[one] for one in frontends[:middle]}, host)
        self.apply({one: changed[one] for one in frontends[middle:]})

    def repair(self) -> bool:
        """Put everything there again if somebody took our tables away; say whether.  Raises EngineError.

        It can happen where the kernel has no owners of tables, by `nft flush ruleset` for instance.
        """
        if not self._handles:
            return False  # what stands there is not from us: it is in effect until we are told what to do
        with _explained():
            standing = self._standing()
        if standing == self._handles:
            return False
        self._restore({}, None)
        return True

    def _standing(self) -> dict[int, int]:
        """Return the handles of our tables by family."""
        return {
            family: one.handle
            for family, table in self._tables.items()
            for one in nft_dump.tables(self._socket, table.family)
            if one.name == TABLE
        }

    def _restore(self, changed: Mapping[Frontend, Rule | None], host: Host | None) -> None:
        """Put everything there again: somebody else had their hands in our tables."""
        rules = {
            frontend: held.rule
            for table in self._tables.values()
            for frontend, held in table.contents.held.items()
        }
        for frontend, rule in changed.items():
            if rule is None:
                rules.pop(frontend, None)
            else:
                rules[frontend] = rule
        known = next((table.contents.host for table in self._tables.values()), Host())
        self.replace(rules, host or known)

    def _accept(self, plans: Mapping[int, Plan]) -> None:
        for family, plan in plans.items():
            self._tables[family].contents.accept(plan)
            for name in plan.operations.gone_sets:
                self._unswept.pop((family, name), None)
            self._unswept |= {(family, name): stay for name, stay in plan.operations.swept.items()}
        if self._unswept:
            self._sweep()

    def _refill(self, plans: Mapping[int, Plan]) -> Iterator[Message]:
        """Yield what makes the tables anew where they stand, around the maps of clients that stay."""
        for family, plan in plans.items():
            table, messages = self._tables[family], self._tables[family].messages
            there = [one.name for one in nft_dump.tables(self._socket, table.family)]
            yield messages.table(self._flags)
            if TABLE not in there:
                yield from messages.base()
                yield from messages.changes(plan.operations)
            else:
                wanted_chains = table.layout.chains().keys() | plan.operations.chains.keys()
                wanted_sets = {one.name for one in (*table.layout.sets(), *plan.operations.sets)}
                chains = nft_dump.chains(self._socket, table.family, TABLE)
                sets = nft_dump.sets(self._socket, table.family, TABLE)
                bases = {one.name for one in BASE_CHAINS}
                yield from messages.empty()
                yield from messages.base()
                yield from messages.changes(plan.operations)
                yield from messages.delete_stale(chains - wanted_chains - bases, sets - wanted_sets)
            yield from (messages.delete(name) for name in there if _of_other_layout(name))

    def _recreate(self, plans: Mapping[int, Plan]) -> Iterator[Message]:
        """Yield what deletes the tables and makes them anew, at once."""
        for family, plan in plans.items():
            table, messages = self._tables[family], self._tables[family].messages
            there = [one.name for one in nft_dump.tables(self._socket, table.family)]
            yield from (messages.delete(name) for name in there if name == TABLE or _of_other_layout(name))
            yield messages.table(self._flags)
            yield from messages.base()
            yield from messages.changes(plan.operations)

    def _sweep(self) -> None:
        """Take clients out of maps whose endpoint left; what can't be now waits for the next change."""
        for (family, name), stay in list(self._unswept.items()):
            for _ in range(_SWEEPS):  # a client may go while it is being listed
                try:
                    self._forget(self._tables[family], name, stay)
                except NetlinkError as wrong:
                    if wrong.errno == errno.EINVAL:
                        self._can_destroy = False
                except (OSError, Malformed):
                    break
                else:
                    del self._unswept[family, name]
                    break

    def _forget(self, table: _Table, name: str, stay: frozenset[bytes]) -> None:
        listed = nft_dump.elements(self._socket, table.family, TABLE, name)
        left = [one.key for one in listed if one.value not in stay]
        if left:
            nftables.commit(self._socket, table.messages.forget(name, left, self._can_destroy))


def is_owned() -> bool:
    """Return whether a living process owns a table of ours.  Raises EngineError."""
    with _explained(), Socket(NETFILTER) as socket:
        return any(
            table.owned
            for layout in LAYOUTS.values()
            for table in nft_dump.tables(socket, layout.family.number)
            if table.name == TABLE or _of_other_layout(table.name)
        )


def clean_up() -> list[str]:
    """Delete all tables of ours, of any layout; return which.  Raises EngineError."""
    with _explained(), Socket(NETFILTER) as socket:
        found = [
            (layout.family, table.name)
            for layout in LAYOUTS.values()
            for table in nft_dump.tables(socket, layout.family.number)
            if table.name == TABLE or _of_other_layout(table.name)
        ]
        if found:
            nftables.commit(socket, [nftables.delete_table(family.number, name) for family, name in found])
    return [f"{family.name} {name}" for family, name in found]


def _of(rules: Mapping[Frontend, _RuleOrNone], family: int) -> dict[Frontend, _RuleOrNone]:
    return {frontend: rule for frontend, rule in rules.items() if frontend.family == family}


def _of_other_layout(name: str) -> bool:
    return name != TABLE and (name == "svcdns" or name.startswith("svcdns-"))


def _errno_of(wrong: EngineError) -> int | None:
    return wrong.__cause__.errno if isinstance(wrong.__cause__, OSError) else None


def _table_flags(socket: Socket) -> int:
    """Return the flags that keep a table ours, if this kernel has both; one alone would not survive us."""
    flags = TableFlag.OWNER | TableFlag.PERSIST
    try:
        nftables.rehearse(socket, [nftables.table(LAYOUTS[4].family.number, "svcdns-probe", flags, COMMENT)])
    except NetlinkError as wrong:
        if wrong.errno not in (errno.EOPNOTSUPP, errno.EINVAL):
            raise
        return 0
    return flags


def _has_family(socket: Socket, layout: Layout) -> bool:
    """Say whether this kernel filters packets of the family: IPv6 may be compiled out."""
    try:
        nftables.rehearse(socket, [nftables.table(layout.family.number, "svcdns-probe", 0, COMMENT)])
    except NetlinkError as wrong:
        if wrong.errno not in _NO_FAMILY:
            raise
        return False
    return True


@contextmanager
def _explained() -> Iterator[None]:
    """Turn what goes wrong with the kernel into one line that says what helps."""
    try:
        yield
    except NetlinkError as wrong:
        raise EngineError(f"nf_tables: {_REMEDIES.get(wrong.errno or 0, wrong.strerror)}") from wrong
    except Malformed as wrong:
        raise EngineError(f"nf_tables: an answer that makes no sense: {wrong}") from wrong
    except OSError as wrong:
        raise EngineError(f"nf_tables: {_REMEDIES.get(wrong.errno or 0, wrong.strerror)}") from wrong


_REMEDIES = {
    errno.EPERM: "not permitted: CAP_NET_ADMIN is missing, or another svcdns proxy that runs owns the table "
    f"{TABLE}: end it first",
    errno.EPROTONOSUPPORT: "this kernel has no netfilter netlink: load nf_tables, or use --engine user",
    errno.ENOSPC: "a set is full",
    errno.ENOMEM: "the kernel has no memory left for more rules",
    errno.ENOBUFS: "no memory left for messages: raise net.core.rmem_max and net.core.wmem_max",
    errno.EMSGSIZE: "a change is larger than may be sent at once: raise net.core.wmem_max",
    errno.EOVERFLOW: "the table has more elements than nf_tables counts",
    errno.EBUSY: f"others use something in the table {TABLE}: `nft delete table ip {TABLE}`, and ip6, helps",
}
