"""How new what is read has to be: what resourceVersion means for get, list and watch, as in Kubernetes.

    left out   most recent: all that was acknowledged before the request came, by any server of the registry
    0          whatever is at hand
    N          not older than N, for which it is waited; 504 where N has not come in time

A server whose registry is its own shows all that was acknowledged; it waits for nothing.  Where the most
recent can't be known (etcd is away), what is at hand is answered, with a Warning that says how old it may be.
https://kubernetes.io/docs/reference/using-api/api-concepts/#semantics-for-get-and-list
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from svcdns.objects.errors import Cause, StatusError

if TYPE_CHECKING:
    from svcdns.registry.registry import Registry


async def reach(registry: Registry, wanted: int | None) -> tuple[str, ...]:
    """Wait until the registry shows what is wanted; return what is to be said where it doesn't."""
    reads = registry.consistent_reads
    if reads is None or wanted == 0:
        return ()
    if wanted is not None:
        await reads.shows(wanted)
        return ()
    stale = await reads.newest()
    return (stale,) if stale else ()


def check_reached(wanted: int | None, present: int) -> None:
    """Raise StatusError 504 where a resourceVersion has not come yet."""
    if not wanted or wanted <= present:
        return
    text = f"Too large resource version: {wanted}, current: {present}"
    cause = Cause("ResourceVersionTooLarge", "Too large resource version")
    raise StatusError(504, "Timeout", text, causes=[cause], retry_after=1)
