"""How what is not taken of the manifests is told: lines of the log, and an Event.

Rules that hold here:

* a folder of thousands of mistakes makes MOST_LINES lines and a count, and one Event;
* mistakes come first; an Event names files, and never their paths.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from svcdns.cluster import event_messages
from svcdns.cluster.event_messages import EventMessage

from .manifests import Applied
from .not_taken import NotTaken, most_wanted, one_line

MOST_LINES = 20
_MOST_IN_EVENT = 5
_CHECK = "`svcdns check` names all"

log = logging.getLogger(__name__)


def log_applied(applied: Applied) -> None:
    """Log how many objects were registered, and what was not taken."""
    counts = (applied.created, applied.changed, applied.unchanged)
    if any(counts) or applied.not_taken:
        log.info("manifests applied: %d objects created, %d changed, %d unchanged", *counts)
    log_not_taken(applied.not_taken)


def log_not_taken(not_taken: Sequence[NotTaken]) -> None:
    """Log a line for each, up to MOST_LINES, and how many more there are."""
    ordered = most_wanted(not_taken)
    for one in ordered[:MOST_LINES]:
        log.log(logging.ERROR if one.is_mistake else logging.WARNING, "manifest not taken: %s", one)
    if rest := ordered[MOST_LINES:]:
        log.warning("manifests not taken: %s more; %s", counted(rest), _CHECK)


def message_of(applied: Applied) -> EventMessage | None:
    """Return the Event message about what was not taken, None where all was."""
    if not applied.not_taken:
        return None
    ordered = most_wanted(applied.not_taken)
    lines = [one_line(one.line(one.place.file.name)) for one in ordered[:_MOST_IN_EVENT]]
    more = f"; {_CHECK}" if len(ordered) > len(lines) else ""
    listed = " ".join(f"({number}) {line}" for number, line in enumerate(lines, 1))
    text = f"Not taken: {counted(ordered)}{more}. {listed}"
    return event_messages.manifests_not_taken(text, is_mistake=ordered[0].is_mistake)


def counted(not_taken: Sequence[NotTaken]) -> str:
    """Return how many of them are mistakes and how many are left out, in words."""
    mistakes = sum(one.is_mistake for one in not_taken)
    numbers = [
        (mistakes, "mistake" if mistakes == 1 else "mistakes"),
        (len(not_taken) - mistakes, "left out"),
    ]
    return ", ".join(f"{number} {word}" for number, word in numbers if number)
