"""The row of an alias: which owner name's rows answer there.

    row = ALIAS u8 | 0 u8 | key of the Service's own name

An alias has no RRs of its own, so a change of a Service's endpoints writes no row more for its aliases, and
rows that are kept in parts need no second copy.  What is below the Service's name is below the alias too.
"""

from __future__ import annotations

from .packed import ALIAS, TYPES_AT


def alias_row(service: bytes) -> bytes:
    """Return the row of an alias; `service` is the key of the Service's own name."""
    return bytes((ALIAS, 0)) + service


def service_of(row: bytes) -> bytes | None:
    """Return the key of the Service's own name that an alias stands for, None for any other row."""
    return row[TYPES_AT:] if row[0] & ALIAS else None
