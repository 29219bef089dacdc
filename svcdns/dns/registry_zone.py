"""Looking a name up in the registry's zones: the cluster domain and the reverse zones.

Here one row is one name, and there are no delegations and no wildcards.  Three rules are ours:

* short names: `X.NS.<zone>` is stored as `X.NS.svc.<zone>`;
* an ExternalName Service is a CNAME for every type but SRV (Kubernetes defines no SRV for it);
* pods=insecure: `A-B-C-D.NS.pod.<zone>` answers the address that it spells if the namespace exists.
"""

from __future__ import annotations

from ipaddress import AddressValueError, IPv4Address, IPv6Address

from svcdns.names import packed
from svcdns.names.packed import Section
from svcdns.store.snapshot import Zone
from svcdns.wire import codes, header

from .gathered import Parts
from .lookup_result import LookupResult, State
from .view import View

_ADDRESS_OCTETS = frozenset(b"0123456789abcdef-")
_OF_ITSELF = (codes.RRSIG, codes.NSEC)
"""What a name with a CNAME has itself, if at all (RFC 4035 section 2.5): no such question leads on."""


def look_up(view: View, zone: Zone, key: bytes, rrtype: int) -> LookupResult:
    """Return what the registry alone says about a name in one of its zones."""
    if zone.kind == "cluster":
        key = view.table.standard_key(key)
    row = view.row(zone, key)
    if row is not None:
        found = in_row(row, zone, rrtype)
        if row[0] & packed.PARTS and found.section is not None:
            parts = Parts(view.snapshot.txn, view.snapshot.answers, key, rrtype, found.section.count)
            return LookupResult(State.HIT, zone, parts=parts)
        return found
    pod = _insecure_pod(view, key)
    if pod is not None:
        return _pod_answer(view, zone, pod, rrtype)
    return LookupResult(State.NODATA if view.has_below(zone, key) else State.NXDOMAIN, zone)


def in_row(row: bytes, zone: Zone, rrtype: int) -> LookupResult:
    """Return what a row that exists says about a type."""
    section = packed.find(row, rrtype) if rrtype else None
    if section is not None:
        return LookupResult(State.HIT, zone, section, row=row)
    cname = packed.find(row, codes.CNAME)
    leads_on = rrtype not in _OF_ITSELF and not (rrtype == codes.SRV and zone.kind == "cluster")
    if cname is not None and leads_on:
        return LookupResult(State.CNAME, zone, cname, row=row)
    return LookupResult(State.NODATA, zone, row=row)


def has_rrsets(view: View, zone: Zone, key: bytes) -> bool:
    """Say whether the registry has an RR at exactly this name."""
    row = view.row(zone, key)
    return row is not None and row[1] > 0


def _insecure_pod(view: View, key: bytes) -> IPv4Address | IPv6Address | None:
    """Return the address that a pod name spells, if pods=insecure and its namespace exists."""
    pods = view.table.pod_key
    if view.serving.pods != "insecure" or not key.startswith(pods):
        return None
    labels = key[len(pods) :].split(b"\0")
    if len(labels) != 3 or view.snapshot.row(pods + labels[0] + b"\0") is None:
        return None
    return address_of_label(labels[1])


def address_of_label(label: bytes) -> IPv4Address | IPv6Address | None:
    """Return the address of a dashed label (`1-2-3-4`, `2001-db8--1`), None if it spells none."""
    if not _ADDRESS_OCTETS.issuperset(label):
        return None
    text = label.decode()
    try:
        if text.count("-") == 3 and "--" not in text:
            return IPv4Address(text.replace("-", "."))
        return IPv6Address(text.replace("-", ":"))
    except AddressValueError:
        return None


def _pod_answer(view: View, zone: Zone, address: IPv4Address | IPv6Address, rrtype: int) -> LookupResult:
    family = codes.A if address.version == 4 else codes.AAAA
    if rrtype != family:
        return LookupResult(State.NODATA, zone)
    head = header.rr_head(family, view.serving.ttl, len(address.packed))
    rr = header.QUESTION_NAME + head + address.packed
    return LookupResult(State.HIT, zone, Section(family, 1, len(rr), rr, (), 0, b""))
