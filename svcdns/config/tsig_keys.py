"""The file of TSIG keys, as `tsig-keygen NAME` of BIND prints them (RFC 8945).  Standard library only.

key "transfer.example" {
    algorithm hmac-sha256;
    secret "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
};
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass, field
from pathlib import Path

from .readers import Wrong

ALGORITHMS = ("hmac-sha256", "hmac-sha384", "hmac-sha512")
LEAST_OCTETS = 16
"""Octets of a secret; half of what SHA-256 gives (RFC 8945 section 8)."""
MAX_NAME_LETTERS = 253
_MOST_OCTETS = 1 << 20
_NAME = re.compile(r"[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*")
_COMMENT = re.compile(r"/\*.*?\*/|//[^\n]*|#[^\n]*", re.DOTALL)
_CLAUSE = re.compile(r'\s*key\s+"?([^\s"{};]+)"?\s*\{([^{}]*)\}\s*;')
_STATEMENT = re.compile(r'\s*(algorithm|secret)\s+"?([^\s";]+)"?\s*;')
_LOOKS_LIKE = 'allowed: key "NAME" { algorithm hmac-sha256; secret "BASE64"; };'


@dataclass(frozen=True, slots=True)
class TsigKey:
    """A secret that two servers share."""

    name: str
    """In lower case, without the last dot."""
    algorithm: str
    secret: bytes = field(repr=False)


def read_keys(file: Path) -> tuple[TsigKey, ...]:
    """Return the keys of a file, at least one.  Raises Wrong, which names the file and never a secret."""
    try:
        with file.open(encoding="utf-8") as opened:
            text = opened.read(_MOST_OCTETS)
    except (OSError, UnicodeDecodeError) as failed:
        why = failed.strerror if isinstance(failed, OSError) else "it is no text"
        raise Wrong(f"{file} can't be read: {why}") from None
    try:
        return _keys(_COMMENT.sub(" ", text))
    except Wrong as wrong:
        raise Wrong(f"{file}: {wrong}") from None


def _keys(text: str) -> tuple[TsigKey, ...]:
    found: dict[str, TsigKey] = {}
    at = 0
    while clause := _CLAUSE.match(text, at):
        key = _key(*clause.groups())
        if key.name in found:
            raise Wrong(f"the key {key.name} stands there twice; allowed: each name once")
        found[key.name] = key
        at = clause.end()
    if text[at:].strip():
        raise Wrong(f"what stands behind {len(found)} keys is none; {_LOOKS_LIKE}")
    if not found:
        raise Wrong(f"there is no key in it; {_LOOKS_LIKE}")
    return tuple(found.values())


def _key(name: str, body: str) -> TsigKey:
    name = name.lower().removesuffix(".")
    if len(name) > MAX_NAME_LETTERS or not _NAME.fullmatch(name):
        raise Wrong(f"a key's name {name[:80]!r} is no domain name; {_LOOKS_LIKE}")
    said = dict(_STATEMENT.findall(body))
    if _STATEMENT.sub("", body).strip() or set(said) != {"algorithm", "secret"}:
        raise Wrong(f"the key {name} does not say an algorithm and a secret; {_LOOKS_LIKE}")
    algorithm = said["algorithm"].lower().removesuffix(".")
    if algorithm not in ALGORITHMS:
        raise Wrong(f"the key {name}: algorithm {algorithm[:40]!r}; allowed: {', '.join(ALGORITHMS)}")
    try:
        secret = base64.b64decode(said["secret"], validate=True)
    except binascii.Error:
        raise Wrong(f"the key {name}: its secret is no base64") from None
    if len(secret) < LEAST_OCTETS:
        raise Wrong(f"the key {name}: a secret of {len(secret)} octets; allowed: {LEAST_OCTETS} and more")
    return TsigKey(name, algorithm, secret)
