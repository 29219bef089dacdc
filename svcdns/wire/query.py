"""What is asked of an upstream and what came back, as the rest of this folder hands it on.

An `Ask` is also the identity of a question: two clients whose asks are equal share one flight and
one cache entry.  So it holds what changes an answer (name, type, DO, CD) and nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Ask:
    """A question of class IN for an upstream."""

    key: bytes
    """Of the name asked for (svcdns.wire.key)."""
    rrtype: int
    do: bool = False
    cd: bool = False
    name: bytes = field(default=b"", compare=False)
    """The name on the wire, in the letter case of whoever asked first."""


@dataclass(frozen=True, slots=True)
class Received:
    """An upstream's reply that was checked against its question; its OPT has been taken out."""

    wire: bytes
    """The whole message.  The question's name may be spelt in another case than was asked."""
    end: int
    """End of the question: where the records begin."""
    rcode: int
    """With the upper bits of the OPT (RFC 6891 section 6.1.3)."""
    truncated: bool
    counts: tuple[int, int, int]
    """RRs of answer, authority and additional section."""
    ttl_at: tuple[int, ...]
    """Offset in `wire` of each RR's TTL field (its RDLENGTH stands 4 octets behind), in order."""
    lifetime: int | None
    """Seconds that it may be kept: the least TTL, or what RFC 2308 says; None or 0: not at all."""
    ede: int | None = None
    """Info code of the upstream's Extended DNS Error."""
    answered: bool = False
    """Whether the answer section has RRs of the type asked for, where its CNAMEs end."""


class Unresolved(Exception):
    """No upstream gave an answer that can be passed on; `ede` and the text say why (RFC 8914)."""

    def __init__(self, ede: int, text: str = "") -> None:
        super().__init__(text)
        self.ede = ede
