"""Taking a field out of a configuration, by its path in a conflict of server-side apply.

    .metadata.labels.app.kubernetes.io/name      .spec.ports[port=80,protocol="TCP"].targetPort

The keys of a map may hold dots, so a path is followed along what is there.
https://kubernetes.io/docs/reference/using-api/server-side-apply/#conflicts
"""

from __future__ import annotations

import json
from typing import Any


def without(configuration: dict[str, Any], path: str) -> dict[str, Any]:
    """Return a configuration without one field; the same where it has no such field."""
    found = _without(configuration, path)
    return found if isinstance(found, dict) else configuration


def _without(value: Any, path: str) -> Any:
    """Return a value without what a path leads to, None where that is the value itself."""
    if not path:
        return None
    if isinstance(value, dict) and path.startswith("."):
        for key in sorted(value, key=len, reverse=True):
            rest = path[1 + len(key) :]
            if path.startswith(f".{key}") and (not rest or rest[0] in ".["):
                left = _without(value[key], rest)
                others = {word: one for word, one in value.items() if word != key}
                return others if left is None else {**value, key: left}
    if isinstance(value, list) and path.startswith("["):
        inside, _, rest = path[1:].partition("]")
        kept = [(_without(one, rest) if _is_meant(one, inside) else one) for one in value]
        return [one for one in kept if one is not None]
    return value


def _is_meant(item: Any, keys: str) -> bool:
    """Return whether an element of a list is the one that `port=80,protocol="TCP"` or `="value"` names."""
    if keys.startswith("="):
        return json.dumps(item) == keys[1:]
    if not isinstance(item, dict):
        return False
    pairs = (pair.partition("=") for pair in keys.split(","))
    return all(name in item and json.dumps(item[name]) == text for name, _, text in pairs)
