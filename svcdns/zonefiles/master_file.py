"""The records of a zone file become packed rows.

`zone_text` reads the records; this module says what a zone must be (`compile_zone` refuses the rest, with
file and line) and packs it.  Rules that hold here:

* the apex is the owner of the one SOA, which may stand again at the end, as transfers have it; the file's
  name or `$ORIGIN` only complete relative names;
* records outside the zone are left out, and the zone's `remarks` say so;
* every other record is kept, glue below a delegation too, since a transfer carries the whole zone;
* only the topmost delegation or DNAME on a path counts: what lies below it can't be asked for;
* the RRs of one RRset share one TTL, the least that was given (RFC 2181 section 5.2), and so do its RRSIGs
  (RFC 4034 section 3);
* NSEC3 records have rows apart from those of names (`names/nsec3`).

What changes rows or flags of the same text raises `frames.RULES`.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import dns.exception
import dns.name
import dns.rdata
import dns.rdatatype

from svcdns.names.packed import APEX, CUT, DNAME, NEGATIVE_SOA, RRset, pack_row
from svcdns.wire import codes, header
from svcdns.wire.key import key_of_labels, labels_of_key, parent_keys, text_of_key
from svcdns.wire.name import MAX_NAME_OCTETS

from .file_names import origin_of
from .includes import Includes
from .nodes import Node, RRs
from .signing import Signing, TooManyIterations, signing_of, split_off_nsec3
from .zone_file_error import ZoneFileError
from .zone_text import Record, ZoneText

_BESIDE_CNAME = frozenset({codes.SIG, codes.KEY, codes.NXT, codes.RRSIG, codes.NSEC})
"""These may stand beside a CNAME (RFC 2181 section 10.1, RFC 4034 section 2.5)."""
_ADDRESSES = (codes.A, codes.AAAA)
_SVCB = (codes.SVCB, codes.HTTPS)
_EXCHANGERS = (codes.MX, codes.RT, codes.KX)
_MAX_TYPES = 254


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
    signing: Signing
    remarks: tuple[str, ...]
    """What of the file is ignored, or will not work."""
    _nodes: dict[bytes, Node] = field(repr=False)
    _nsec3: dict[bytes, Node] = field(repr=False)

    def __len__(self) -> int:
        """Return how many rows there are."""
        return len(self._nodes) + len(self._nsec3)

    def rows(self) -> Iterator[tuple[bytes, bytes]]:
        """Yield (key, packed row) in the order of keys: of NSEC3 records, then of names, the apex first."""
        for key in sorted(self._nsec3):
            yield key, _pack(self, key, self._nsec3[key])
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

    def _wildcard(self, key: bytes) -> Node | None:
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


def compile_zone(text: str, origin: str | None, source: str, include: Includes | None = None) -> CompiledZone:
    """Return the zone of a zone file's text; `source` is its path, for errors and (by its name) the origin.

    With an `origin` the zone must be that one; with None it is the one its SOA stands at.  `include` reads
    the files that it includes.  Raises ZoneFileError.
    """
    begin = origin or origin_of(source.rpartition("/")[2])
    reading = _Reading(source)
    for record in ZoneText(source, text, _name(begin, source) if begin else dns.name.root, include).records():
        reading.add(record)
    apex = _apex(reading)
    if origin is not None and apex != _key(_name(origin, source)):
        raise reading.error(reading.soa, f"the SOA stands at {text_of_key(apex)}, not at {origin}")
    nodes = reading.nodes
    remarks = [*_leave_out_strangers(reading, apex)]
    try:
        signing = signing_of(nodes, apex)
    except TooManyIterations as refused:
        raise reading.error(nodes[apex], str(refused)) from None
    nsec3_nodes = split_off_nsec3(nodes, apex, signing.nsec3)
    remarks += [*_check_tree(reading, apex), *signing.remarks]
    (soa,) = nodes[apex].sets[codes.SOA].rdatas.values()
    cuts = any(codes.NS in node.sets for key, node in nodes.items() if key != apex)
    return CompiledZone(
        origin=text_of_key(apex),
        key=apex,
        serial=int.from_bytes(soa[-20:-16]),
        cuts=cuts or any(codes.DNAME in node.sets for node in nodes.values()),
        wildcards=any(b"\0*\0" in key and not node.occluded for key, node in nodes.items()),
        signing=signing,
        remarks=tuple(remarks),
        _nodes=nodes,
        _nsec3=nsec3_nodes,
    )


def _name(origin: str, source: str) -> dns.name.Name:
    try:
        return dns.name.from_text(origin)
    except (dns.exception.DNSException, UnicodeError) as bad:
        raise ZoneFileError(source, 1, f"{origin!r} is no domain name: {bad}") from None


def _key(name: dns.name.Name) -> bytes:
    return key_of_labels(list(name.labels[:-1]))


class _Reading:
    """One pass over a file: collects its records by owner and checks each as it comes."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.nodes: dict[bytes, Node] = {}
        self.soa: Node | None = None
        self.soa_key = b""

    def error(self, where: Node | Record | None, text: str) -> ZoneFileError:
        """Return an error at a record, or at the first one of a name."""
        return ZoneFileError(where.source if where else self.source, where.line if where else 1, text)

    def add(self, record: Record) -> None:
        """Take one record."""
        name, rdata = record.owner, record.rdata
        if text := _fault(name, record.ttl, rdata):
            raise self.error(record, text)
        key = _key(name)
        canonical = rdata.to_digestable()
        node = self.nodes.get(key)
        if node is None:
            node = self.nodes[key] = Node(record.source, record.line)
        if rdata.rdtype == codes.SOA:
            self._take_soa(record, key, canonical)
        if text := _clash(node, rdata):
            raise self.error(record, f"{text_of_key(key)} {text}")
        rrs = node.sets.setdefault(rdata.rdtype, RRs(record.ttl))
        rrs.ttl = min(rrs.ttl, record.ttl)
        if canonical not in rrs.rdatas:
            wire = rdata.to_wire()
            assert wire is not None
            rrs.rdatas[canonical] = wire
            rrs.targets += _targets(name, rdata)

    def _take_soa(self, record: Record, key: bytes, canonical: bytes) -> None:
        if self.soa is None:
            self.soa, self.soa_key = Node(record.source, record.line), key
        elif key != self.soa_key or canonical not in self.nodes[key].sets[codes.SOA].rdatas:
            raise self.error(record, f"a second SOA; the first is in line {self.soa.line}")


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
    if name.labels[0] == b"*" and rdata.rdtype == codes.NS:
        return "a wildcard can't have NS records (RFC 4592 section 4.2)"
    wire = rdata.to_wire()
    assert wire is not None and name.labels[-1] == b""
    fixed = header.OCTETS + header.TYPE_CLASS.size + header.RR.size
    if fixed + len(wire) + 2 * MAX_NAME_OCTETS > header.MAX_MESSAGE:
        return f"the record is too large for any DNS message ({len(wire)} octets)"
    return ""


def _clash(node: Node, rdata: dns.rdata.Rdata) -> str:
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
    apex, where = reading.soa_key, reading.soa
    if where is None:
        raise reading.error(None, "the zone has no SOA")
    if not apex:
        raise reading.error(where, "the SOA stands at the root; write $ORIGIN with the zone's name above it")
    if labels_of_key(apex)[-1].isdigit():
        text = f"{text_of_key(apex)} is no zone's name; write $ORIGIN with it above the SOA"
        raise reading.error(where, text)
    if codes.NS not in reading.nodes[apex].sets:
        raise reading.error(where, f"{text_of_key(apex)} has no NS")
    return apex


def _leave_out_strangers(reading: _Reading, apex: bytes) -> Iterator[str]:
    """Drop what is outside the zone, and say so."""
    strangers = [key for key in reading.nodes if not key.startswith(apex)]
    if strangers:
        first = reading.nodes[strangers[0]]
        count = sum(len(rrs.rdatas) for key in strangers for rrs in reading.nodes[key].sets.values())
        yield (
            f"{count} records outside the zone are ignored, the first is {text_of_key(strangers[0])} "
            f"({first.place(reading.source)})"
        )
    for key in strangers:
        del reading.nodes[key]


def _check_tree(reading: _Reading, apex: bytes) -> Iterator[str]:
    """Mark what can't be asked for: what lies below a delegation, and what is hidden by a DNAME.

    In the order of keys a name's descendants follow it directly, so one name to look back at is enough.
    """
    cut = alias = b""
    hidden: list[bytes] = []
    for key, node in sorted(reading.nodes.items()):
        if bool(cut) and key.startswith(cut):
            node.occluded = True
            continue
        if alias and key.startswith(alias):
            node.occluded = True
            hidden.append(key)
            continue
        if codes.NS in node.sets and key != apex:
            cut = key
            if codes.DNAME in node.sets:
                hidden.append(key)
        elif codes.DNAME in node.sets:
            alias = key
    if hidden:
        first = text_of_key(hidden[0])
        place = reading.nodes[hidden[0]].place(reading.source)
        yield (
            f"{len(hidden)} names are hidden by a DNAME above them, or have one and are delegated too "
            f"(RFC 6672 sections 2.3 and 2.4), the first is {first} ({place})"
        )


def _pack(zone: CompiledZone, key: bytes, node: Node) -> bytes:
    apex = key == zone.key
    flags = APEX if apex else 0
    if not node.occluded:
        flags |= CUT if codes.NS in node.sets and not apex else 0
        flags |= DNAME if codes.DNAME in node.sets else 0
    rrsets = [_rrset(zone, key, rrtype, node) for rrtype in node.sets]
    if apex:
        soa = node.sets[codes.SOA]
        (rdata,) = soa.rdatas.values()
        negative = RRs(min(soa.ttl, int.from_bytes(rdata[-4:])), soa.rdatas)
        rrsets.append(RRset(NEGATIVE_SOA, negative.packed(codes.SOA)))
    return pack_row(rrsets, flags)


def _rrset(zone: CompiledZone, key: bytes, rrtype: int, node: Node) -> RRset:
    """Pack one RRset of an owner with what belongs into its additional section, if all has room.

    That is the addresses of its targets, and of SVCB and HTTPS the target's own too (RFC 9460 section 4.1).
    """
    answers = node.packed(rrtype)
    additionals: list[bytes] = []
    for target, name in {_key(target): target for target in node.sets[rrtype].targets}.items():
        types = (*_ADDRESSES, rrtype) if rrtype in _SVCB and target != key else _ADDRESSES
        additionals += zone.additionals(name, types, occluded=rrtype == codes.NS)
    fits = sum(map(len, answers)) + sum(map(len, additionals)) <= header.MAX_MESSAGE
    return RRset(rrtype, answers, additionals if fits else ())
