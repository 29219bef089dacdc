"""Writes that wait for etcd: what is known of each, and how it is answered where nothing comes of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from svcdns.cluster.event_messages import EventMessage
from svcdns.objects.errors import StatusError

from .. import waiting
from .outage import not_shown, refused, undecided


@dataclass(slots=True)
class Waiting(waiting.Waiting):
    """A write that waits, and how far etcd is with it."""

    is_tried: bool = False
    """Whether it is being carried out: from here on nobody may say that nothing was changed."""
    revision: int = 0
    """The revision of etcd in which it was carried out."""
    changes: bool = False
    """Whether it changes anything."""
    keys: frozenset[bytes] = frozenset()
    """What it would change, where it was deferred: nobody that came later does before it."""
    messages: list[EventMessage] = field(default_factory=list)
    """What has happened, to be recorded with its answer."""
    overtaken: int = 0
    """How often it was overtaken that was decided on more than what it touches."""
    newest: int | None = None
    """What etcd has said since it came that its newest revision is, None while nothing was said."""

    @property
    def is_given_up(self) -> bool:
        """Whether it was answered before its turn came; who only leaves does not undo it."""
        return self.future.done() and not self.future.cancelled()


def refuse(group: Iterable[Waiting], error: StatusError) -> None:
    """Answer writes with an error."""
    for one in group:
        if not one.future.done():
            one.future.set_exception(error)


def give_up(one: Waiting) -> None:
    """Answer a write that has waited for too long with what is known of it."""
    if one.future.done():
        return
    if one.revision:
        one.future.set_exception(not_shown(one.revision))
    elif one.is_tried:
        one.future.set_exception(undecided())
    else:
        one.future.set_exception(refused("this write was overtaken by others for too long"))
