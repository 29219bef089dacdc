"""Syntax of names, labels, ports and addresses, with Kubernetes' own error texts.

Each `*_errors(text)` returns a list of messages, empty if the text is right (as the functions of
k8s.io/apimachinery/pkg/util/validation do). https://kubernetes.io/docs/concepts/overview/working-with-objects/names/
"""

from __future__ import annotations

import functools
import ipaddress
import re
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from socket import AF_INET, inet_pton

LABEL_OCTETS = 63
SUBDOMAIN_OCTETS = 253

_LABEL_1123 = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = _LABEL_1123 + r"(\." + _LABEL_1123 + ")*"
_QUALIFIED = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
_LABEL_VALUE = "(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?"

_IS_LABEL_1123 = re.compile(_LABEL_1123).fullmatch
_IS_SUBDOMAIN = re.compile(_SUBDOMAIN).fullmatch
_IS_QUALIFIED = re.compile(_QUALIFIED).fullmatch
_IS_LABEL_VALUE = re.compile(_LABEL_VALUE).fullmatch

_BAD_ADDRESS = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"
_LONGEST_ADDRESS = 45


def _explained(message: str, regex: str, *examples: str) -> str:
    """Return a message with examples and the regular expression, spaced as Kubernetes does."""
    shown = " or ".join(f"'{example}', " for example in examples)
    return f"{message} (e.g. {shown}regex used for validation is '{regex}')"


_NOT_LABEL_1123 = _explained(
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', "
    "and must start and end with an alphanumeric character",
    _LABEL_1123,
    "my-name",
    "123-abc",
)
_NOT_SUBDOMAIN = _explained(
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', "
    "and must start and end with an alphanumeric character",
    _SUBDOMAIN,
    "example.com",
)
_NOT_QUALIFIED = _explained(
    "must consist of alphanumeric characters, '-', '_' or '.', "
    "and must start and end with an alphanumeric character",
    _QUALIFIED,
    "MyName",
    "my.name",
    "123-abc",
)
_NOT_LABEL_VALUE = _explained(
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', "
    "and must start and end with an alphanumeric character",
    _LABEL_VALUE,
    "MyValue",
    "my_value",
    "12345",
)


def too_long(limit: int) -> str:
    """Return Kubernetes' text for a value of more than `limit` octets."""
    return f"must be no more than {limit} bytes"


def label_errors(text: str) -> list[str]:
    """DNS-1123 label: names of Namespaces, hostnames, port names of Services."""
    errors = [too_long(LABEL_OCTETS)] if len(text) > LABEL_OCTETS else []
    return errors if _IS_LABEL_1123(text) else [*errors, _NOT_LABEL_1123]


def subdomain_errors(text: str) -> list[str]:
    """DNS-1123 subdomain: names of Pods and EndpointSlices."""
    errors = [too_long(SUBDOMAIN_OCTETS)] if len(text) > SUBDOMAIN_OCTETS else []
    return errors if _IS_SUBDOMAIN(text[:65536]) else [*errors, _NOT_SUBDOMAIN]


def domain_errors(text: str) -> list[str]:
    """Domain name that DNS can carry: a subdomain, perhaps with a final dot, no label over 63 octets."""
    name = text.removesuffix(".")
    errors = subdomain_errors(name)
    if not errors and any(len(label) > LABEL_OCTETS for label in name.split(".")):
        errors.append(f"each label {too_long(LABEL_OCTETS)}")
    return errors


def port_name_errors(text: str) -> list[str]:
    """IANA service name (RFC 6335 section 5.1): named ports of containers."""
    errors = []
    if len(text) > 15:
        errors.append(too_long(15))
    if not re.fullmatch("[-a-z0-9]+", text):
        errors.append("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)")
    if not re.search("[a-z]", text):
        errors.append("must contain at least one letter (a-z)")
    if "--" in text:
        errors.append("must not contain consecutive hyphens")
    if text.startswith("-") or text.endswith("-"):
        errors.append("must not begin or end with a hyphen")
    return errors


def port_errors(number: int) -> list[str]:
    """Port number."""
    return [] if 1 <= number <= 65535 else ["must be between 1 and 65535, inclusive"]


@functools.lru_cache(4096)
def _key_errors(text: str) -> tuple[str, ...]:
    prefix, slash, name = text.rpartition("/")
    if "/" in prefix:
        return (f"a qualified name {_NOT_QUALIFIED} with an optional DNS subdomain prefix and '/' "
                "(e.g. 'example.com/MyName')",)  # fmt: skip
    errors = []
    if slash and not prefix:
        errors.append("prefix part must be non-empty")
    elif slash:
        errors.extend("prefix part " + message for message in subdomain_errors(prefix))
    if not name:
        errors.append("name part must be non-empty")
    elif len(name) > LABEL_OCTETS:
        errors.append("name part " + too_long(LABEL_OCTETS))
    if not _IS_QUALIFIED(name):
        errors.append("name part " + _NOT_QUALIFIED)
    return tuple(errors)


def key_errors(text: str) -> list[str]:
    """Qualified name: keys of labels and annotations, such as example.com/my-name."""
    return list(_key_errors(text)) if len(text) < 512 else [too_long(SUBDOMAIN_OCTETS + 1 + LABEL_OCTETS)]


def label_value_errors(text: str) -> list[str]:
    """Value of a label."""
    errors = [too_long(LABEL_OCTETS)] if len(text) > LABEL_OCTETS else []
    return errors if _IS_LABEL_VALUE(text) else [*errors, _NOT_LABEL_VALUE]


@functools.lru_cache(maxsize=8192)
def address_of(text: str) -> IPv4Address | IPv6Address:
    """Return the address that a text spells: a write reads the same one several times.

    Raises ValueError.
    """
    try:
        return IPv4Address(inet_pton(AF_INET, text))  # takes no more than ip_address, in a third of the time
    except (OSError, ValueError):
        return ipaddress.ip_address(text)


def parse_address(text: str) -> IPv4Address | IPv6Address | None:
    """Return the address that a text means, or None if address_errors() has anything against it."""
    if len(text) > _LONGEST_ADDRESS or "%" in text:
        return None
    try:
        address = address_of(text)
    except ValueError:
        return None
    return None if isinstance(address, IPv6Address) and address.ipv4_mapped else address


def parse_network(text: str) -> IPv4Network | IPv6Network | None:
    """Return the network that a CIDR means (bits behind the prefix don't count), None where it is none."""
    address, slash, length = text.partition("/")
    if parse_address(address) is None or not slash or not length.isascii() or not length.isdigit():
        return None
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        return None


def address_errors(text: str) -> list[str]:
    """IPv4 or IPv6 address without leading zeros, zone ("%eth0") or IPv4-mapped form."""
    if parse_address(text) is not None:
        return []
    if len(text) > _LONGEST_ADDRESS:
        return [_BAD_ADDRESS]
    if "%" in text:
        return [_BAD_ADDRESS + " without a zone"]
    if re.fullmatch(r"\d+(\.\d+){3}", text, re.ASCII) and re.search(r"(^|\.)0\d", text):
        return ["must not have leading 0s"]
    if text.lower().startswith(("::ffff:", "0:0:0:0:0:ffff:")):
        return ["must not be an IPv4-mapped IPv6 address"]
    return [_BAD_ADDRESS]


def unicast_errors(text: str) -> list[str]:
    """Address that one host can have: not unspecified, not multicast, not broadcast; loopback is allowed."""
    address = parse_address(text)
    if address is None:
        return address_errors(text)
    if address.is_unspecified:
        return [f"may not be unspecified ({text})"]
    if address.is_multicast:
        return ["may not be in the multicast range (224.0.0.0/4, ff00::/8)"]
    if str(address) == "255.255.255.255":
        return ["may not be the broadcast address"]
    return []


def routable_errors(text: str) -> list[str]:
    """Address that other hosts can reach: unicast, neither loopback nor link-local."""
    errors = unicast_errors(text)
    address = parse_address(text)
    if address is None or errors:
        return errors
    if address.is_loopback:
        return ["may not be in the loopback range (127.0.0.0/8, ::1/128)"]
    if address.is_link_local:
        return ["may not be in the link-local range (169.254.0.0/16, fe80::/10)"]
    return []
