"""What somebody may have meant who wrote a word that there is not.

Python's difflib is loaded when that happens: processes that never see a mistake are spared its memory.
"""

from __future__ import annotations

from collections.abc import Iterable


def closest(word: str, known: Iterable[str], likeness: float = 0.6) -> str | None:
    """Return the most similar of the words that there are, None where none is as alike as that (0 to 1)."""
    from difflib import get_close_matches

    return next(iter(get_close_matches(word, list(known), n=1, cutoff=likeness)), None)
