"""What stands where a reply would stand, when there is none to send: each of the three reasons by its name.

    reply = answerer.answer(packet, snapshot)
    if reply is HAND_OVER: ...      # ask the forwarder
    elif reply is not SILENCE: ...  # `reply` is octets to send

The fast path alone returns NOT_PLAIN, and the exact path goes on from there: no transport ever sees it.
They are compared by identity, which costs the query path as much as a comparison with None.
"""

from __future__ import annotations

from enum import Enum
from typing import Final, Literal


class NoReply(Enum):
    """Why there is no reply."""

    NOT_PLAIN = "not plain"
    SILENCE = "silence"
    HAND_OVER = "hand over"


NOT_PLAIN: Final = NoReply.NOT_PLAIN
"""The question takes more than the fast path: the exact path decides."""
SILENCE: Final = NoReply.SILENCE
"""Nothing is sent: the message is a reply itself, or shorter than a header."""
HAND_OVER: Final = NoReply.HAND_OVER
"""Upstreams know: the forwarder is to be asked."""

FastReply = bytes | Literal[NoReply.NOT_PLAIN, NoReply.HAND_OVER]
"""What the fast path says about a message."""
Answer = bytes | Literal[NoReply.SILENCE, NoReply.HAND_OVER]
"""What is done about a message: octets to send, silence, or a question to the forwarder."""
