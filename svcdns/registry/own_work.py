"""Work in the background of a registry that is one server's own: all of it is that server's.

What `replicated.division.Division` is where several share one.
"""

from __future__ import annotations

from collections.abc import Callable

IsOwn = Callable[[str, str, str], bool]
"""Returns whether the work of an object (kind, namespace, name) is this server's."""


class OwnWork:
    """There is nobody else."""

    def is_own(self, kind: str, namespace: str, name: str) -> bool:
        """Return whether the work of an object is this server's."""
        return True

    async def behind(self, seconds: float) -> list[str]:
        """Return which replicas don't show yet what this one does: there are none."""
        return []
