"""Writes that wait: what is known of each, and how it is answered."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from svcdns.objects.errors import StatusError

from ..transaction import WriteTransaction
from .outage import not_shown, refused, undecided

if TYPE_CHECKING:
    import asyncio


@dataclass(slots=True)
class Waiting:
    """A write that waits."""

    action: Callable[[WriteTransaction], Any]
    dry_run: bool
    future: asyncio.Future[Any]
    result: Any = None
    error: Exception | None = None
    is_tried: bool = False
    """Whether it is being carried out: from here on nobody may say that nothing was changed."""
    revision: int = 0
    """The revision of etcd in which it was carried out."""
    changes: bool = False
    """Whether it changes anything."""

    @property
    def is_given_up(self) -> bool:
        """Whether it was answered before its turn came; who only leaves does not undo it."""
        return self.future.done() and not self.future.cancelled()


def answer(decided: Iterable[Waiting]) -> None:
    """Give writes what they came to."""
    for waiting in decided:
        if waiting.future.done():
            continue
        if waiting.error is not None:
            waiting.future.set_exception(waiting.error)
        else:
            waiting.future.set_result(waiting.result)


def refuse(group: Iterable[Waiting], error: StatusError) -> None:
    """Answer writes with an error."""
    for waiting in group:
        if not waiting.future.done():
            waiting.future.set_exception(error)


def give_up(waiting: Waiting) -> None:
    """Answer a write that has waited for too long with what is known of it."""
    if waiting.future.done():
        return
    if waiting.revision:
        waiting.future.set_exception(not_shown(waiting.revision))
    elif waiting.is_tried:
        waiting.future.set_exception(undecided())
    else:
        waiting.future.set_exception(refused("this write was overtaken by others for too long"))
