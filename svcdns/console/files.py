"""The console's files as they are served: read once, compressed once, known by an entity tag.

Rules: nothing but what lies in `static/` has a name here; a file never changes while the server runs.
"""

from __future__ import annotations

import functools
import gzip
import hashlib
from dataclasses import dataclass
from pathlib import Path

STATIC = Path(__file__).parent / "static"
INDEX = "index.html"
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
}
"""By the end of a file's name; all others are text."""

CONTENT_SECURITY_POLICY = "; ".join(
    (
        *("default-src 'none'", "script-src 'self'", "style-src 'self'", "img-src 'self' data:"),
        *("connect-src 'self'", "base-uri 'none'", "form-action 'self'", "frame-ancestors 'none'"),
        "require-trusted-types-for 'script'",
    )
)
HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
"""Of every page and file below /console/: no code but these files, no frame of others, nothing sent on.

https://www.w3.org/TR/CSP3/, https://www.w3.org/TR/trusted-types/
"""


@dataclass(frozen=True, slots=True)
class File:
    """A file: its octets, the same compressed, its Content-Type and entity tag (RFC 9110 section 8.8.3)."""

    octets: bytes
    compressed: bytes
    content_type: str
    tag: str


@functools.cache
def names() -> frozenset[str]:
    """Return the paths of all files below `static/`, such as "vendor/htm.mjs"."""
    return frozenset(str(path.relative_to(STATIC)) for path in STATIC.rglob("*") if path.is_file())


@functools.cache
def _read(name: str) -> File:
    octets = (STATIC / name).read_bytes()
    tag = f'"{hashlib.sha256(octets).hexdigest()[:32]}"'
    kind = TYPES.get(Path(name).suffix, "text/plain; charset=utf-8")
    return File(octets, gzip.compress(octets, mtime=0), kind, tag)


def find(name: str) -> File | None:
    """Return a file by its path below `static/`, None where there is none."""
    return _read(name) if name in names() else None
