"""The text of a zone file (RFC 1035 section 5, RFC 2308 section 4, RFC 3597) as records, one after the other.

dnspython reads words and RDATA; lines and directives are read here, as BIND reads them:

* `$ORIGIN` and the last owner name belong to a file: an included one begins with those of the line that
  includes it, and they are back when it ends;
* a TTL that is not written is that of the last `$TTL`, in whichever file, else the last one that was
  written, else, for the SOA, its own MINIMUM;
* class and TTL may stand in either order; a class other than IN is refused;
* octets that are no UTF-8 are themselves, as if written `\\DDD`.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass

import dns.exception
import dns.name
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.tokenizer
import dns.ttl

from svcdns.wire import codes, header

from . import generate, includes, rare_types
from .includes import Includes
from .zone_file_error import ZoneFileError

_IN = dns.rdataclass.IN
_CLASS = re.compile(r"IN|CH|HS|CHAOS|HESIOD|CLASS\d+", re.ASCII)
_SHOWN = 80
"""Characters of a line that an error quotes."""


def decode(octets: bytes) -> str:
    """Return the text of a zone file; what is no UTF-8 becomes `\\DDD`."""
    return octets.decode("utf-8-sig", "svcdns.octets").replace("\r\n", "\n")


def _escaped(problem: UnicodeError) -> tuple[str, int]:
    assert isinstance(problem, UnicodeDecodeError)
    octets = problem.object[problem.start : problem.end]
    return "".join(f"\\{octet:03d}" for octet in octets), problem.end


codecs.register_error("svcdns.octets", _escaped)


@dataclass(frozen=True, slots=True)
class Record:
    """One record and where it stands; `ttl` is in seconds, names are absolute."""

    source: str
    line: int
    owner: dns.name.Name
    ttl: int
    rdata: dns.rdata.Rdata


class _Words(dns.tokenizer.Tokenizer):
    """dnspython's tokenizer, which also remembers the line where the present record began."""

    began = 1

    def get(self, want_leading: bool = False, want_comment: bool = False) -> dns.tokenizer.Token:
        if want_leading and self.ungotten_token is None:
            self.began = self.line_number
        return super().get(want_leading, want_comment)


class _File:
    """One file while it is being read."""

    def __init__(self, source: str, text: str, origin: dns.name.Name, owner: dns.name.Name) -> None:
        self.source = source
        self.text = text
        self.words = _Words(text, "zone")
        self.origin = origin
        self.owner = owner

    def fault(self, problem: Exception) -> ZoneFileError:
        """Return what is wrong in the present line: dnspython's words, with a remedy where there is one."""
        text = str(problem)
        for pattern, words in _WORDS.items():
            text = re.sub(pattern, words, text)
        line = self.text.split("\n")[self.words.began - 1 :][:1]
        about = " ".join("".join(line).split())[:_SHOWN]
        text = " ".join(text.split()) + (f" (in: {about})" if about else "")
        return ZoneFileError(self.source, self.words.began, text)


class ZoneText:
    """A zone file and what it includes."""

    def __init__(
        self, source: str, text: str, origin: dns.name.Name, include: Includes | None = None
    ) -> None:
        """`source` is the file's path, `origin` completes names; without `include` no file is included."""
        self._files = [_File(source, text, origin, origin)]
        self._include = include
        self._inclusions = 0
        self._default_ttl: int | None = None
        self._last_ttl: int | None = None

    def records(self) -> Iterator[Record]:
        """Yield the records in their order.  Raises ZoneFileError."""
        while self._files:
            file = self._files[-1]
            try:
                yield from self._line(file)
            except (ZoneFileError, MemoryError):
                raise
            except Exception as problem:  # dnspython and its codecs raise many kinds; all speak of this line
                raise file.fault(problem) from None

    def _line(self, file: _File) -> Iterator[Record]:
        """Read one line, which parentheses may spread over several."""
        words = file.words
        token = words.get(want_leading=True)
        if token.is_eof():
            self._files.pop()
        elif token.is_eol():
            return
        elif token.is_whitespace():
            token = words.get()
            if not token.is_eol_or_eof():
                words.unget(token)
                yield self._record(file, words)
        elif token.is_identifier() and token.value.startswith("$"):
            yield from self._directive(file, token.value.upper())
        else:
            file.owner = words.as_name(token, file.origin)
            yield self._record(file, words)

    def _directive(self, file: _File, name: str) -> Iterator[Record]:
        words = file.words
        if name == "$TTL":
            self._default_ttl = _ttl(words.get_string())
            words.get_eol()
        elif name == "$ORIGIN":
            file.origin = words.get_name(file.origin)
            words.get_eol()
        elif name == "$INCLUDE":
            self._begin_include(file)
        elif name == "$GENERATE":
            yield from self._generated(file)
        else:
            raise ValueError(f"there is no directive {name}; there are $ORIGIN, $TTL, $INCLUDE and $GENERATE")

    def _begin_include(self, file: _File) -> None:
        words = file.words
        name, token = words.get_string(), words.get()
        origin = file.origin
        if not token.is_eol_or_eof():
            origin = words.as_name(token, file.origin)
            words.get_eol()
        if self._include is None:
            raise ValueError("$INCLUDE has no folder to look in here")
        if len(self._files) > includes.DEPTH:
            raise ValueError(f"files are included in each other more than {includes.DEPTH} deep")
        self._inclusions += 1
        if self._inclusions > includes.MOST:
            raise ValueError(f"more than {includes.MOST} files are included")
        source, octets = self._include.read(name, file.source)
        if source in (other.source for other in self._files):
            raise ValueError(f"{name!r} includes itself")
        self._files.append(_File(source, decode(octets), origin, file.owner))

    def _generated(self, file: _File) -> Iterator[Record]:
        words = file.words
        numbers = generate.counters(words.get_string())
        owner = words.get_string()
        ttl = self._ttl_and_class(words)
        rrtype = words.get_string()
        rdata = words.get()
        if rdata.is_eol_or_eof():
            raise ValueError("$GENERATE has no RDATA; several words go in quotes")
        words.get_eol()
        for line in generate.lines(numbers, f"{owner} {rrtype} {rdata.value}"):
            made = dns.tokenizer.Tokenizer(line)
            name = made.get_name(file.origin)
            yield self._with_rdata(file, made, name, ttl)

    def _record(self, file: _File, words: dns.tokenizer.Tokenizer) -> Record:
        return self._with_rdata(file, words, file.owner, self._ttl_and_class(words))

    def _ttl_and_class(self, words: dns.tokenizer.Tokenizer) -> int | None:
        """Take a TTL and a class, in either order, if they are there."""
        ttl = None
        has_class = False
        for _ in range(2):
            token = words.get()
            word = token.value.upper() if token.is_identifier() else ""
            if not has_class and _CLASS.fullmatch(word):
                if word not in ("IN", "CLASS1"):
                    raise ValueError("the class is not IN")
                has_class = True
                continue
            if ttl is None and word[:1].isdigit():
                ttl = self._last_ttl = _ttl(word)
                continue
            words.unget(token)
            break
        return ttl

    def _with_rdata(
        self, file: _File, words: dns.tokenizer.Tokenizer, owner: dns.name.Name, ttl: int | None
    ) -> Record:
        rrtype = rare_types.type_number(words.get_identifier())
        rdata = _rdata(rrtype, words, file.origin)
        if ttl is None:
            ttl = self._last_ttl if self._default_ttl is None else self._default_ttl
        if ttl is None:
            if rrtype != codes.SOA:
                raise ValueError("the record has no TTL; write $TTL at the top of the file")
            ttl = self._default_ttl = rdata.minimum  # type: ignore[attr-defined]
        return Record(file.source, file.words.began, owner, ttl, rdata)


def _ttl(word: str) -> int:
    try:
        return dns.ttl.from_text(word)
    except dns.ttl.BadTTL:
        raise ValueError(f"{word} is no TTL in 0..{header.MAX_TTL} seconds") from None


def _rdata(rrtype: int, words: dns.tokenizer.Tokenizer, origin: dns.name.Name) -> dns.rdata.Rdata:
    number = dns.rdatatype.RdataType.make(rrtype)
    if rrtype in rare_types.FIELDS:
        token = words.get()
        words.unget(token)
        if token.value != "\\#":
            octets = rare_types.read_rdata(rrtype, words, origin)
            words.get_eol()
            return dns.rdata.from_wire(_IN, number, octets, 0, len(octets))
    return dns.rdata.from_text(_IN, number, words, origin, relativize=False)


_WORDS = {
    r"^zone:\d+: ": "",
    r"caught exception <class '[^']*'>: ": "",
    r"^(Text input is malformed\.|)$": "the record can't be read",
    r'^expected EOL or EOF, got \d+ "(.*)"$': r"\1 stands behind the end of the record",
}
"""dnspython's words (patterns), and the same with a remedy."""
