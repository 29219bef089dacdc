"""Names in presentation format as people write them, with escapes (RFC 1035 section 5.1)."""

from __future__ import annotations

from .key import key_of_labels
from .name import BadName


def key_of_text(name: str) -> bytes:
    """Return the key of a name; the last dot may be missing.  Raises BadName."""
    if name in ("", "@"):
        raise BadName(f"{name!r} is no domain name; allowed: such as example.com, or . for all names")
    import dns.exception  # here: a server's processes have no other use for dnspython
    import dns.name

    try:
        labels = dns.name.from_text(name).labels
    except (dns.exception.DNSException, UnicodeError) as wrong:
        why = str(wrong).rstrip(".").lower().replace("dns", "DNS")
        raise BadName(f"{name[:80]!r} is no domain name: {why}; allowed: such as example.com") from None
    return key_of_labels(list(labels[:-1]))
