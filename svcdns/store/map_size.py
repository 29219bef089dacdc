"""How much address space a store takes: known also to who never opens one.  Standard library only."""

from __future__ import annotations

MAP_OCTETS = 64 << 30
"""Address space, not memory: the file is as large as what is in it."""
