"""The names of the cluster domain: where each Service, endpoint, Pod and address has its owner names.

Keys are for the store (see `key`), texts for RDATA (absolute, as registered).
https://github.com/kubernetes/dns/blob/master/docs/specification.md
"""

from __future__ import annotations

from ipaddress import AddressValueError, IPv4Address, IPv6Address

from svcdns.wire.key import key_of
from svcdns.wire.name import MAX_LABEL_OCTETS

from .records import Address, dashed


class ClusterNames:
    """Owner names below one cluster domain, e.g. `cluster.local`."""

    def __init__(self, domain: str) -> None:
        """`domain` is in presentation format; a last dot may be missing."""
        self.domain = domain.removesuffix(".") + "."
        self.apex = key_of(domain)
        self.services = self.apex + b"svc\0"
        self.pods = self.apex + b"pod\0"
        self.server = self.apex + b"dns\0ns\0"
        self.version = self.apex + b"dns-version\0"

    def namespace(self, namespace: str) -> bytes:
        """Key of NS.svc.Z."""
        return self.services + namespace.encode() + b"\0"

    def pod_namespace(self, namespace: str) -> bytes:
        """Key of NS.pod.Z."""
        return self.pods + namespace.encode() + b"\0"

    def service(self, namespace: str, service: str) -> bytes:
        """Key of SVC.NS.svc.Z."""
        return self.namespace(namespace) + service.encode() + b"\0"

    def service_text(self, namespace: str, service: str) -> str:
        """SVC.NS.svc.Z. as RDATA spells it."""
        return f"{service}.{namespace}.svc.{self.domain}"

    def endpoint(self, namespace: str, service: str, label: str) -> bytes:
        """Key of LABEL.SVC.NS.svc.Z."""
        return self.service(namespace, service) + label.encode() + b"\0"

    def endpoint_text(self, namespace: str, service: str, label: str) -> str:
        """LABEL.SVC.NS.svc.Z. as RDATA spells it."""
        return f"{label}.{service}.{namespace}.svc.{self.domain}"

    def pod(self, namespace: str, address: Address) -> bytes:
        """Key of A-B-C-D.NS.pod.Z."""
        return self.pod_namespace(namespace) + dashed(address).encode() + b"\0"


def port_suffix(port: str, protocol: str) -> bytes:
    """What `_port._proto` appends to a Service's key; both in lower case.

    Empty for a port without a name and for one whose name, with its underscore, is too long for a label.
    """
    if not 0 < len(port) < MAX_LABEL_OCTETS:
        return b""
    return f"_{protocol}\0_{port}\0".lower().encode()


def reverse_address(key: bytes) -> Address | None:
    """Return the address whose reverse name has this key; None for other names, partial ones included."""
    labels = [label.decode("latin-1") for label in key.split(b"\0")[:-1]]
    try:
        if labels[:2] == ["arpa", "in-addr"] and len(labels) == 6:
            return IPv4Address(".".join(labels[2:]))
        if labels[:2] == ["arpa", "ip6"] and len(labels) == 34:
            return IPv6Address(":".join("".join(labels[at : at + 4]) for at in range(2, 34, 4)))
    except AddressValueError:
        pass
    return None


def reverse_key(address: Address) -> bytes:
    """Key of the reverse name of an address, under in-addr.arpa or ip6.arpa."""
    if address.version == 4:
        return b"arpa\0in-addr\0%d\0%d\0%d\0%d\0" % (*address.packed,)
    return b"arpa\0ip6\0" + b"".join(b"%c\0" % digit for digit in address.packed.hex().encode())
