"""Writes that wait for the committer, whichever it is: what each is, and what it came to."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .transaction import WriteTransaction

if TYPE_CHECKING:
    import asyncio


@dataclass(slots=True)
class Waiting:
    """A write that waits; it has come to `error` where there is one, else to `result`."""

    action: Callable[[WriteTransaction], Any]
    dry_run: bool
    future: asyncio.Future[Any]
    result: Any = None
    error: BaseException | None = None


def answer(group: Iterable[Waiting]) -> None:
    """Give writes what they came to, in their event loop; who was answered before is left alone."""
    for waiting in group:
        if waiting.future.done():
            continue
        if waiting.error is not None:
            waiting.future.set_exception(waiting.error)
        else:
            waiting.future.set_result(waiting.result)
