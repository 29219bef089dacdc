"""The paths of the console, by which its page, the session and access control know it."""

from __future__ import annotations

ROOT = "/console"
SESSION = "/console/session"
PLAIN = "/console/plain"


def is_at(path: str) -> bool:
    """Say whether a path is one of the console's."""
    return path == ROOT or path.startswith(ROOT + "/")


def is_session(path: str) -> bool:
    """Say whether a path is the one of the session."""
    return path.rstrip("/") == SESSION
