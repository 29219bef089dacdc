"""Zone files (RFC 1035 section 5) become packed rows.

dnspython reads the text; this module says what a zone must be (`compile_zone` refuses the rest, with
file and line) and packs what it read.  Rules that hold here:

* the apex is the owner of the one SOA; the file's name or `$ORIGIN` only complete relative names;
* every record is kept, glue below a delegation too, since a transfer carries the whole zone;
* only the topmost delegation on a path is a CUT: what lies below it can't be asked for;
* the RRs of one RRset share one TTL, the least that was given (RFC 2181 section 5.2);
* `$INCLUDE` is refused: what a file may read would be a question of its own.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import dns.exception
import dns.name
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.tokenizer
import dns.transaction
import dns.zonefile

from svcdns.names.packed import APEX, CUT, DNAME, NEGATIVE_SOA, RRset, pack_row
from svcdns.wire import codes, header
from svcdns.wire.key import key_of_labels, labels_of_key, parent_keys, text_of_key
from svcdns.wire.name import MAX_NAME_OCTETS

RULES = 4
"""Raised when the same text gives other rows or flags, so that stored zones are loaded again."""

_BESIDE_CNAME = frozenset({codes.KEY, codes.RRSIG, codes.NSEC})
"""These may stand beside a CNAME (RFC 4034 section 2.5)."""
_ADDRESSES = (codes.A, codes.AAAA)
_SVCB = (codes.SVCB, codes.HTTPS)
_EXCHANGERS = (codes.MX, codes.RT, codes.KX)
_MAX_TYPES = 254
_SHOWN = 80
"""Characters of a line that an error quotes."""


class ZoneFileError(ValueError):
    """A zone file that is refused; `str` is "file:line: what"."""

    def __init__(self, source: str, line: int, text: str) -> None:
        """`line` counts from 1 and is where the record in question begins; 0 means the file as a whole."""
        super().__init__(f"{source}:{line}: {text}" if line else f"{source}: {text}")
        self.source = source
        self.line = line
        self.text = text


@dataclass(slots=True)
class _RRs:
    """One RRset as read: its least TTL, the RDATA by canonical form, and the names it points to."""

    ttl: int
    rdatas: dict[bytes, bytes] = field(default_factory=dict)
    targets: list[dns.name.Name] = field(default_factory=list)

    def packed(self, rrtype: int, owner: bytes = header.QUESTION_NAME) -> list[bytes]:
        head = owner + rrtype.to_bytes(2) + b"\0\1" + self.ttl.to_bytes(4)
        return [head + len(rdata).to_bytes(2) + rdata for rdata in self.rdatas.values()]


@dataclass(slots=True)
class _Node:
    """All RRsets of one owner name; `line` is where the name first stands."""

    line: int
    sets: dict[int, _RRs] = field(default_factory=dict)
    occluded: bool = False
    """It lies below a delegation."""


@dataclass(frozen=True)
class CompiledZone:
    """A zone that may be served; `origin` is absolute and lower-case, `key` its key."""

    origin: str
    key: bytes
    serial: int
    cuts: bool
    """There are delegations or DNAMEs."""
    wildcards: bool
    """There are wildcards, empty non-terminals (`x.*.w`) among them (RFC 4592 section 4.9)."""
    _nodes: dict[bytes, _Node] = field(repr=False)

    def __len__(self) -> int:
        """Return how many rows there are."""
        return len(self._nodes)

    def rows(self) -> Iterator[tuple[bytes, bytes]]:
        """Yield (key, packed row), the apex first, in the order of keys."""
        for key in self._keys:
            yield key, _pack(self, key, self._nodes[key])

    def additionals(self, name: dns.name.Name, types: Sequence[int], *, occluded: bool) -> list[bytes]:
        """Return the RRs that a name has of these types, its owner spelt in full; none outside the zone."""
        node = self._nodes.get(_key(name)) or self._wildcard(_key(name))
        if node is None or (node.occluded and not occluded):
            return []
        owner = name.to_wire()
        assert owner is not None
        return [
            rr for rrtype in types if rrtype in node.sets for rr in node.sets[rrtype].packed(rrtype, owner)
        ]

    def _wildcard(self, key: bytes) -> _Node | None:
        """Return the wildcard that answers for a name that doesn't exist (RFC 4592 section 3.3.1)."""
        if not self.wildcards or not key.startswith(self.key) or self._exists(key):
            return None
        encloser = next(ancestor for ancestor in parent_keys(key)[1:] if self._exists(ancestor))
        source = self._nodes.get(encloser + b"*\0")
        return None if source is None or source.occluded else source

    def _exists(self, key: bytes) -> bool:
        """Say whether a name has records, or something below it has."""
        at = bisect_left(self._keys, key)
        return at < len(self._keys) and self._keys[at].startswith(key)

    @cached_property
    def _keys(self) -> list[bytes]:
        return sorted(self._nodes)


def origin_of(file_name: str) -> str | None:
    """Return the origin that a zone file's name gives, or None if it isn't one of a zone file.

    `example.org.zone`, `example.org.db` and `db.example.org` all give `example.org`.
    """
    for suffix in (".zone", ".db"):
        if file_name.endswith(suffix):
            return file_name.removesuffix(suffix) or None
    return file_name.removeprefix("db.") or None if file_name.startswith("db.") else None


def compile_zone(text: str, origin: str | None, source: str) -> CompiledZone:
    """Return the zone of a zone file's text; `source` is its path, for errors and (by its name) the origin.

    With an `origin` the zone must be that one; with None it is the one its SOA stands at.  Raises
    ZoneFileError.
    """
    begin = origin or origin_of(source.rpartition("/")[2])
    reading = _Reading(source, text)
    reading.read(_name(begin, source) if begin else dns.name.root)
    apex = _apex(reading)
    if origin is not None and apex != _key(_name(origin, source)):
        raise reading.error(reading.soa_line, f"the SOA stands at {text_of_key(apex)}, not at {origin}")
    nodes = reading.nodes
    _check_tree(reading, apex)
    (soa,) = nodes[apex].sets[codes.SOA].rdatas.values()
    cuts = any(codes.NS in node.sets for key, node in nodes.items() if key != apex)
    return CompiledZone(
        origin=text_of_key(apex),
        key=apex,
        serial=int.from_bytes(soa[-20:-16]),
        cuts=cuts or any(codes.DNAME in node.sets for node in nodes.values()),
        wildcards=any(b"\0*\0" in key and not node.occluded for key, node in nodes.items()),
        _nodes=nodes,
    )


def _name(origin: str, source: str) -> dns.name.Name:
    try:
        return dns.name.from_text(origin)
    except (dns.exception.DNSException, UnicodeError) as bad:
        raise ZoneFileError(source, 1, f"{origin!r} is no domain name: {bad}") from None


def _key(name: dns.name.Name) -> bytes:
    return key_of_labels(list(name.labels[:-1]))


class _Lines(dns.tokenizer.Tokenizer):
    """dnspython's tokenizer, which also remembers the line where the present record began."""

    began = 1

    def get(self, want_leading: bool = False, want_comment: bool = False) -> dns.tokenizer.Token:
        if want_leading and self.ungotten_token is None:
            self.began = self.line_number
        return super().get(want_leading, want_comment)


class _Origin(dns.transaction.TransactionManager):
    """Lets dnspython's reader take any name: it would skip those outside a zone silently."""

    def origin_information(self) -> tuple[dns.name.Name | None, bool, dns.name.Name | None]:
        return dns.name.root, False, dns.name.root

    def get_class(self) -> dns.rdataclass.RdataClass:
        return dns.rdataclass.IN


class _Reading(dns.transaction.Transaction):
    """One pass over a file: collects its records by owner and checks each as it comes."""

    def __init__(self, source: str, text: str) -> None:
        super().__init__(_Origin())
        self.source = source
        self.nodes: dict[bytes, _Node] = {}
        self.soa_line = 0
        self.soa_key = b""
        self._text = text
        self._lines = _Lines(text, "zone")

    def error(self, line: int, text: str) -> ZoneFileError:
        return ZoneFileError(self.source, line, text)

    def read(self, origin: dns.name.Name) -> None:
        reader = dns.zonefile.Reader(self._lines, dns.rdataclass.IN, self)
        reader.current_origin = reader.last_name = origin
        try:
            reader.read()
        except (ZoneFileError, MemoryError):
            raise
        except Exception as problem:  # dnspython and its codecs raise many kinds; all speak of this line
            raise self.error(self._lines.began, self._reworded(str(problem))) from None

    def _reworded(self, text: str) -> str:
        """dnspython's words with a remedy where there is one, and the line they are about."""
        for pattern, words in _WORDS.items():
            text = re.sub(pattern, words, text)
        line = self._text.split("\n")[self._lines.began - 1 :][:1]
        about = " ".join("".join(line).split())[:_SHOWN]
        return " ".join(text.split()) + (f" (in: {about})" if about else "")

    def check_put_rdataset(self, check: Any) -> None:
        """The reader's own check of CNAMEs is replaced by ours, which names the line."""

    def _set_origin(self, origin: dns.name.Name) -> None:
        """A zone's origin isn't changed by $ORIGIN."""

    def add(self, *args: Any) -> None:
        """Take one record: (owner, TTL in seconds, rdata)."""
        name, ttl, rdata = args
        line = self._lines.began
        if text := _fault(name, ttl, rdata):
            raise self.error(line, text)
        key = _key(name)
        node = self.nodes.setdefault(key, _Node(line))
        if text := _clash(node, rdata):
            raise self.error(line, f"{text_of_key(key)} {text}")
        if rdata.rdtype == codes.SOA:
            if self.soa_line:
                raise self.error(line, f"a second SOA; the first is in line {self.soa_line}")
            self.soa_line, self.soa_key = line, key
        rrs = node.sets.setdefault(rdata.rdtype, _RRs(ttl))
        rrs.ttl = min(rrs.ttl, ttl)
        canonical = rdata.to_digestable()
        if canonical not in rrs.rdatas:
            rrs.rdatas[canonical] = rdata.to_wire()
            rrs.targets += _targets(name, rdata)


def _targets(owner: dns.name.Name, rdata: dns.rdata.Rdata) -> list[dns.name.Name]:
    """The name whose addresses belong into the additional section (RFC 1035, 1183, 2230, 2782, 9460)."""
    if rdata.rdtype in _EXCHANGERS:
        return [rdata.exchange]  # type: ignore[attr-defined]
    if rdata.rdtype == codes.AFSDB:
        return [rdata.hostname]  # type: ignore[attr-defined]
    if rdata.rdtype in _SVCB and rdata.target == dns.name.root:  # type: ignore[attr-defined]
        # The owner itself, and nothing for an alias (RFC 9460 section 2.5). A wildcard's is the question's.
        is_service = rdata.priority > 0 and not owner.is_wild()  # type: ignore[attr-defined]
        return [owner] if is_service else []
    with_target = (codes.NS, codes.SRV, *_SVCB)
    return [rdata.target] if rdata.rdtype in with_target else []  # type: ignore[attr-defined]


def _fault(name: dns.name.Name, ttl: int, rdata: dns.rdata.Rdata) -> str:
    """What is wrong with a record by itself, or an empty text."""
    if not 0 <= ttl <= header.MAX_TTL:
        return f"the TTL {ttl} is not in 0..{header.MAX_TTL} seconds"
    if rdata.rdtype == 0 or dns.rdatatype.is_metatype(rdata.rdtype):
        return f"{dns.rdatatype.to_text(rdata.rdtype)} is no type that a zone can hold"
    if name.labels[0] == b"*" and rdata.rdtype in (codes.NS, codes.DNAME):
        return f"a wildcard can't have {dns.rdatatype.to_text(rdata.rdtype)} records (RFC 4592 section 4)"
    wire = rdata.to_wire()
    assert wire is not None and name.labels[-1] == b""
    fixed = header.OCTETS + header.TYPE_CLASS.size + header.RR.size
    if fixed + len(wire) + 2 * MAX_NAME_OCTETS > header.MAX_MESSAGE:
        return f"the record is too large for any DNS message ({len(wire)} octets)"
    return ""


def _clash(node: _Node, rdata: dns.rdata.Rdata) -> str:
    """Why a record can't stand beside those that its name already has, or an empty text."""
    here, new = node.sets, rdata.rdtype
    others = [rrtype for rrtype in here if rrtype not in _BESIDE_CNAME]
    if new in (codes.CNAME, codes.DNAME) and new in here:
        same = rdata.to_digestable() in here[new].rdatas
        return "" if same else f"has a second {dns.rdatatype.to_text(new)}"
    if new not in _BESIDE_CNAME and others and (new == codes.CNAME or codes.CNAME in here):
        other = dns.rdatatype.to_text(dns.rdatatype.RdataType.make(others[0] if new == codes.CNAME else new))
        return f"has a CNAME, so it can't have {other} records too (RFC 1034 section 3.6.2)"
    if new not in here and len(here) >= _MAX_TYPES:
        return f"has more than {_MAX_TYPES} types"
    return ""


def _apex(reading: _Reading) -> bytes:
    """Return the key of the apex, once it is sure that it is one."""
    if not reading.soa_line:
        raise reading.error(1, "the zone has no SOA")
    apex, line = reading.soa_key, reading.soa_line
    if not apex:
        raise reading.error(line, "the SOA stands at the root; write $ORIGIN with the zone's name above it")
    if labels_of_key(apex)[-1].isdigit():
        text = f"{text_of_key(apex)} is no zone's name; write $ORIGIN with it above the SOA"
        raise reading.error(line, text)
    if codes.NS not in reading.nodes[apex].sets:
        raise reading.error(line, f"{text_of_key(apex)} has no NS")
    return apex


def _check_tree(reading: _Reading, apex: bytes) -> None:
    """Check how names stand to each other, and mark what lies below a delegation.

    In the order of keys a name's descendants follow it directly, so one name to look back at is enough.
    """
    cut = alias = b""
    for key, node in sorted(reading.nodes.items()):
        if not key.startswith(apex):
            raise reading.error(node.line, f"{text_of_key(key)} is outside the zone {text_of_key(apex)}")
        node.occluded = bool(cut) and key.startswith(cut)
        if node.occluded:
            continue
        if alias and key.startswith(alias):
            above = text_of_key(alias)
            text = f"{text_of_key(key)} is below {above}, which has a DNAME (RFC 6672 section 2.4)"
            raise reading.error(node.line, text)
        if codes.DNAME in node.sets:
            alias = key
        if codes.NS in node.sets and key != apex:
            if codes.DNAME in node.sets:
                text = f"{text_of_key(key)} has a DNAME and is delegated too (RFC 6672 section 2.3)"
                raise reading.error(node.line, text)
            cut = key


def _pack(zone: CompiledZone, key: bytes, node: _Node) -> bytes:
    apex = key == zone.key
    flags = APEX if apex else 0
    if not node.occluded:
        flags |= CUT if codes.NS in node.sets and not apex else 0
        flags |= DNAME if codes.DNAME in node.sets else 0
    rrsets = [_rrset(zone, key, rrtype, rrs) for rrtype, rrs in node.sets.items()]
    if apex:
        soa = node.sets[codes.SOA]
        (rdata,) = soa.rdatas.values()
        negative = _RRs(min(soa.ttl, int.from_bytes(rdata[-4:])), soa.rdatas)
        rrsets.append(RRset(NEGATIVE_SOA, negative.packed(codes.SOA)))
    return pack_row(rrsets, flags)


def _rrset(zone: CompiledZone, key: bytes, rrtype: int, rrs: _RRs) -> RRset:
    """Pack one RRset of an owner with what belongs into its additional section, if all has room.

    That is the addresses of its targets, and of SVCB and HTTPS the target's own too (RFC 9460 section 4.1).
    """
    answers = rrs.packed(rrtype)
    additionals: list[bytes] = []
    for target, name in {_key(target): target for target in rrs.targets}.items():
        types = (*_ADDRESSES, rrtype) if rrtype in _SVCB and target != key else _ADDRESSES
        additionals += zone.additionals(name, types, occluded=rrtype == codes.NS)
    fits = sum(map(len, answers)) + sum(map(len, additionals)) <= header.MAX_MESSAGE
    return RRset(rrtype, answers, additionals if fits else ())


_WORDS = {
    r"^zone:\d+: ": "",
    r"caught exception <class '[^']*'>: ": "",
    r"^unknown rdatatype '(\d+)'$": rf"\1 is no TTL in 0..{header.MAX_TTL} seconds and no record type",
    r"^unknown rdatatype '(.*)'$": r"'\1' is no record type",
    r"^(Text input is malformed\.|)$": "the record can't be read",
    r'^expected EOL or EOF, got \d+ "(.*)"$': r"\1 stands behind the end of the record",
    r"^RR class is not zone's class$": "the class is not IN",
    r"^Missing default TTL value$": "the record has no TTL; write $TTL at the top of the file",
    r"^zone file directive '\$INCLUDE' is not allowed$": (
        "$INCLUDE is not supported; write the records into this file"
    ),
}
"""dnspython's words (patterns), and the same with a remedy."""
