"""A file of tokens as text: one line each, with a hash in place of the token.

    sha256:HEX  NAME  ROLE  NAMESPACES        NAMESPACES: names with commas between them, or * for all

Rules:

* a token is 256 random bits, so a plain SHA-256 of it can't be turned back by trying;
* a name stands once in a file: who is meant by it is never in doubt;
* a mistake names the line, and never repeats what stands where the hash belongs: it may be a token.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from svcdns.config.sections import ROLES

PREFIX = "svcdns_"
"""How every token begins, so that scanners of published files know one."""
MAX_FILE_OCTETS = 1 << 20

HEADER = "# Tokens of svcdns: hash, name, role, namespaces. Edit with `svcdns token`, or by hand.\n"

_HASH = re.compile(r"sha256:([0-9a-f]{64})")
_NAME = re.compile(r"(system:node:)?[A-Za-z0-9]([A-Za-z0-9._@-]{0,61}[A-Za-z0-9])?", re.ASCII)
_NAMESPACE = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", re.ASCII)


class TokenError(Exception):
    """A file of tokens, or a change to it, that can't be; one line for the user."""


@dataclass(frozen=True, slots=True)
class Token:
    """One line: whose token it is and what it is good for."""

    digest: bytes
    """SHA-256 of the token's text."""
    name: str
    role: str
    namespaces: tuple[str, ...] = ()
    """Empty: all."""

    def line(self) -> str:
        """Return the line, with its end."""
        return f"sha256:{self.digest.hex()} {self.name} {self.role} {','.join(self.namespaces) or '*'}\n"


def new_token() -> str:
    """Return a token nobody has yet."""
    return PREFIX + secrets.token_urlsafe(32)


def digest_of(token: bytes) -> bytes:
    """Return what a file keeps of a token."""
    return hashlib.sha256(token).digest()


def made(token: str, name: str, role: str, namespaces: Iterable[str]) -> Token:
    """Return the line of a token.  Raises TokenError."""
    return _checked(digest_of(token.encode()), name, role, tuple(namespaces))


def parse(text: str) -> tuple[list[Token], list[str]]:
    """Return the tokens of a file, and its mistakes ("line 3: ..."); a line with one grants nothing."""
    tokens: list[Token] = []
    mistakes = []
    for number, line in token_lines(text):
        try:
            token = _of_line(line)
            if any(token.name == other.name or token.digest == other.digest for other in tokens):
                raise TokenError(f"name or hash of {token.name!r} stands in a line before; allowed: once")
            tokens.append(token)
        except TokenError as wrong:
            mistakes.append(f"line {number}: {wrong}")
    return tokens, mistakes


def token_lines(text: str) -> Iterator[tuple[int, str]]:
    """Yield (number from 1, line) of the lines that are neither empty nor comments."""
    for number, line in enumerate(text.split("\n"), 1):
        if (stripped := line.strip()) and not stripped.startswith("#"):
            yield number, stripped


def _of_line(line: str) -> Token:
    words = line.split()
    if len(words) != 4:
        raise TokenError(f"{len(words)} words; allowed: sha256:HEX NAME ROLE NAMESPACES")
    found = _HASH.fullmatch(words[0])
    if found is None:
        raise TokenError("does not begin with a hash; allowed: sha256: and 64 hexadecimal digits")
    namespaces = () if words[3] == "*" else tuple(words[3].split(","))
    return _checked(bytes.fromhex(found[1]), words[1], words[2], namespaces)


def _checked(digest: bytes, name: str, role: str, namespaces: tuple[str, ...]) -> Token:
    if not _NAME.fullmatch(name):
        raise TokenError(
            f"name {name[:80]!r} can't be; allowed: 1 to 63 letters, digits and inner . _ @ -, "
            "and system:node: before them"
        )
    if role not in ROLES:
        raise TokenError(f"role {role[:80]!r} is not known; allowed: {', '.join(ROLES)}")
    for namespace in namespaces:
        if not _NAMESPACE.fullmatch(namespace):
            text = f"{namespace[:80]!r} is no namespace; allowed: 1 to 63 lower-case letters, digits, inner -"
            raise TokenError(f"{text}; or * for all")
    return Token(digest, name, role, namespaces)
