"""Names of one's own for a Service, as its annotations say them.

    svcdns.io/aliases: "nas.home.arpa, *.apps.example.com"
    external-dns.alpha.kubernetes.io/hostname: "shop.example.com"     where the configuration says so
    svcdns.io/ptr: alias                                              its addresses lead back to the first

Other people's manifests hold such names for other servers, so nothing here refuses an object: what is not
taken comes with the reason and the remedy.  An alias is spelt as a host is (RFC 952, RFC 1123 section 2.1:
letters, digits, '-'), in lower case, without the last dot.  DNS itself would carry any octet (RFC 2181
section 11): an underscore inside a label is taken with a warning, one that begins a label is not, since those
names are reserved for what is below a name (RFC 8552).  A wildcard is the leftmost label alone (RFC 4592).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

ALIASES_ANNOTATION = "svcdns.io/aliases"
EXTERNAL_DNS_ANNOTATION = "external-dns.alpha.kubernetes.io/hostname"
PTR_ANNOTATION = "svcdns.io/ptr"
PTR_TO_ALIAS = "alias"
"""The one value of PTR_ANNOTATION."""

MOST_ALIASES = 100
"""Aliases that one Service may have."""
_MOST_READ = 1000
"""Names of an annotation that are looked at: an annotation may be 256 KiB long."""
_MOST_REMARKS = 20
"""Names that are spoken of one by one; a last remark counts the others."""

_NAME_OCTETS, _LABEL_OCTETS = 253, 63
_LABEL = re.compile(r"[a-z0-9]([a-z0-9_-]*[a-z0-9])?", re.ASCII)
_SHOWN = 80
_UNUSUAL = "is answered, but host names are letters, digits and '-': some programs refuse it"


class Remark(NamedTuple):
    """Something that the author of an annotation should know."""

    annotation: str
    value: str
    """The name that it is about, as it was written, cut where it is long."""
    text: str
    """The name, the reason and a remedy."""

    def __str__(self) -> str:
        """Return it with the field in front, as warnings have it."""
        return f"metadata.annotations[{self.annotation}]: {self.text}"


@dataclass(slots=True)
class Aliases:
    """What the annotations of a Service ask for."""

    names: dict[str, str] = field(default_factory=dict)
    """Names that are allowed, in the order in which they are written, each with its annotation."""
    remarks: list[Remark] = field(default_factory=list)
    is_pointer: bool = False
    """Whether its addresses lead back to the first alias."""


def written(service: Mapping[str, Any], *, external_dns: bool) -> dict[str, str]:
    """Return the annotations of a Service that speak of aliases, as they are; {} for most Services.

    `external_dns` says whether EXTERNAL_DNS_ANNOTATION counts.
    """
    annotations = service["metadata"].get("annotations") or {}
    known = (ALIASES_ANNOTATION, *((EXTERNAL_DNS_ANNOTATION,) if external_dns else ()), PTR_ANNOTATION)
    return {key: annotations[key] for key in known if key in annotations}


def read(annotations: Mapping[str, str], zones: Collection[str]) -> Aliases:
    """Read what `written` gives; aliases are allowed below `zones` (lower case, no last dot)."""
    found, not_spoken_of = Aliases(), 0
    for annotation, text in _items(annotations):
        name = spelt(text)
        if name in found.names:
            continue
        fault = _fault(name) or _not_allowed(name, zones)
        if not fault and len(found.names) == MOST_ALIASES:
            fault = f"a Service has at most {MOST_ALIASES} aliases; leave some out, or use a wildcard"
        if not fault:
            found.names[name] = annotation
        remark = f"is not answered: {fault}" if fault else _UNUSUAL if "_" in name else ""
        if remark and len(found.remarks) < _MOST_REMARKS:
            found.remarks.append(_remark(annotation, text, remark))
        elif remark:
            not_spoken_of += 1
    if not_spoken_of:
        text = f"{not_spoken_of} names more are not answered, or unusual"
        found.remarks.append(Remark(next(iter(annotations)), "", text))
    for annotation, value in annotations.items():
        if value.count(",") >= _MOST_READ:
            text = f"only the first {_MOST_READ} names are read; leave some out, or use a wildcard"
            found.remarks.append(Remark(annotation, "", text))
    pointer = annotations.get(PTR_ANNOTATION)
    found.is_pointer = pointer == PTR_TO_ALIAS
    if pointer is not None and not found.is_pointer:
        text = f"is not known and means nothing; allowed: {PTR_TO_ALIAS}"
        found.remarks.append(_remark(PTR_ANNOTATION, pointer, text))
    return found


def asks_for(annotations: Mapping[str, str], name: str) -> bool:
    """Say whether a name (lower case, no last dot) is among those written, taken or not."""
    return any(spelt(text) == name for _, text in _items(annotations))


def fault_of(text: str) -> str:
    """Return why a text is no alias in any zone, "" where it may be one."""
    return _fault(spelt(text))


def spelt(text: str) -> str:
    """Return an alias in its one spelling; what is not ASCII is none, and stays."""
    return text.strip().lower().removesuffix(".") if text.isascii() else text


def is_wildcard(name: str) -> bool:
    """Say whether an alias stands for all names below another one."""
    return name.startswith("*.")


def _items(annotations: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield each name that is read with the annotation that it stands in; a comma too much means nothing."""
    for annotation, value in annotations.items():
        if annotation != PTR_ANNOTATION:
            parts = value.split(",", _MOST_READ)[:_MOST_READ]
            yield from ((annotation, text) for part in parts if (text := part.strip()))


def _remark(annotation: str, value: str, text: str) -> Remark:
    shown = value if len(value) <= _SHOWN else value[: _SHOWN - 3] + "..."
    printable = "".join(letter if letter.isprintable() else "?" for letter in shown)
    return Remark(annotation, printable, f"{printable} {text}")


def _fault(name: str) -> str:
    """Return why a text is no name that a host could have, "" where it is one."""
    if not name.isascii():
        return "names are ASCII; write the A-label (xn--...) of each label that is not"
    if len(name) > _NAME_OCTETS:
        return f"a name has at most {_NAME_OCTETS} characters"
    for label in name.removeprefix("*.").split("."):
        if not label:
            return "it has an empty label; write one dot between two labels"
        if label.startswith("_"):
            return "labels that begin with '_' are for what is below a name (RFC 8552), such as _http._tcp"
        if label == "*":
            return "a wildcard is the leftmost label alone, such as *.apps.example.com"
        if len(label) > _LABEL_OCTETS:
            return f"a label has at most {_LABEL_OCTETS} characters"
        if not _LABEL.fullmatch(label):
            return "a label has letters, digits and inner '-'; names are parted by commas"
    return ""


def _not_allowed(name: str, zones: Collection[str]) -> str:
    """Return why a name may not be an alias here, "" where it may: where it lies below one of the zones."""
    if any(name.endswith("." + zone) for zone in zones):
        return ""
    if name in zones:
        return (
            "it is a zone of [dns] alias_zones itself, whose SOA, NS and MX others have; use a name below it"
        )
    above = name.partition(".")[2]
    if not above:
        return "a name of one label is below no zone; write it whole, such as nas.home.arpa"
    return f"it is below no zone of [dns] alias_zones; add {above} to [dns] alias_zones and restart"
