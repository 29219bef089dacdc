"""Names of their own for Services: who has one after a write, and what is said about it.

An alias goes from one Service to the next in the transaction in which the first gives it up or goes, or in
which an older one comes to ask for it (`alias_claims`).  Here the claims follow a changed Service, aliases
whose holder may be another one are noted in `write.touched`, and PTRs that lead to an alias (`facts`) go
with it.  A Service without these annotations costs nothing but the look at them.
"""

from __future__ import annotations

from collections.abc import Iterator

from svcdns.cluster import event_messages
from svcdns.objects.kinds import SERVICE
from svcdns.wire.key import key_of

from . import alias_claims, facts
from .alias_claims import Who
from .transaction import Object, WriteTransaction, present


def service_changed(write: WriteTransaction, old: Object | None, new: Object | None) -> None:
    """Bring the claims to a changed Service, and say who has gained or lost an alias by that."""
    before, after = alias_claims.written(write, old), alias_claims.written(write, new)
    if not before and not after:
        return
    service = present(old, new)
    had, wants = alias_claims.asked(write, old), alias_claims.asked(write, new)
    if new is not None and before != after:
        write.messages += [event_messages.alias_remark(new, str(remark)) for remark in wants.remarks]
    visible = new is not None and facts.is_visible(write, service["metadata"]["namespace"])
    others: set[Who] = set()
    for name in dict.fromkeys((*had.names, *wants.names)):
        others |= _claim(write, service, name, wants=visible and name in wants.names)
    for who in sorted(others):
        _refresh_pointers(write, who)


def _claim(write: WriteTransaction, service: Object, name: str, *, wants: bool) -> set[Who]:
    """Note that a Service wants a name or not; return the other Services that gain or lose it by that."""
    alias, me = key_of(name), _who(service)
    before = alias_claims.holder(write, alias)
    if not alias_claims.claim(write, alias, service, wants=wants):
        return set()
    write.touched.aliases.add(alias)
    after = alias_claims.holder(write, alias)
    if wants and after != me and after is not None:
        write.messages.append(event_messages.alias_taken(service, name, _text(after)))
    others = {who for who in (before, after) if who is not None and who != me and before != after}
    for who in others:
        other = write.load(SERVICE, *who)
        if other is not None and after == me:
            write.messages.append(event_messages.alias_taken(other, name, _text(me)))
        elif other is not None:
            write.messages.append(event_messages.alias_given(other, name, _text(me)))
    return others


def _refresh_pointers(write: WriteTransaction, who: Who) -> None:
    service = write.load(SERVICE, *who)
    if service is not None:
        facts.refresh_pointers(write, service)


def warnings(write: WriteTransaction, old: Object | None, new: Object) -> Iterator[str]:
    """Yield what a client is told of the aliases of a Service that was stored: what is not taken, and why."""
    after = alias_claims.written(write, new)
    if not after or after == alias_claims.written(write, old):
        return
    asked = alias_claims.asked(write, new)
    yield from map(str, asked.remarks)
    if not facts.is_visible(write, new["metadata"]["namespace"]):
        return
    for name, annotation in asked.names.items():
        there = alias_claims.holder(write, key_of(name))
        if there is not None and there != _who(new):
            taken = f"Service {_text(there)} has it, {event_messages.FIRST_OF_THEM}; choose another name"
            yield f"metadata.annotations[{annotation}]: {name} is not answered here: {taken}"


def _who(service: Object) -> Who:
    return service["metadata"]["namespace"], service["metadata"]["name"]


def _text(who: Who) -> str:
    return "/".join(who)
