"""Users: who sends a request, or is asked about in a review."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class User:
    """A user, by name and groups."""

    username: str
    uid: str = ""
    groups: tuple[str, ...] = ()


ANONYMOUS = User("system:anonymous", "", ("system:unauthenticated",))
"""Whoever comes without saying who they are, by Kubernetes' name."""
