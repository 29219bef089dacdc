"""How names, ports and addresses are spelt: what people type instead is refused with what they meant.

The server would refuse the same in Kubernetes' words.  These are for somebody who has never read its rules,
and nothing has been written yet when they are said.
"""

from __future__ import annotations

import re
import unicodedata
from ipaddress import ip_address, ip_interface

from svcdns.objects.service_aliases import fault_of, spelt
from svcdns.objects.syntax import LABEL_OCTETS, address_errors, label_errors, unicast_errors

from .exchange import Mistake

PORTS = range(1, 65536)
_SHOWN = 80


def label(what: str, text: str) -> str:
    """Return a name that stands in domain names as one label (RFC 1123).  Raises Mistake."""
    if not label_errors(text):
        return text
    near = _nearest_label(text)
    meant = f"; did you mean {near}?" if near else ""
    allowed = f"allowed: a-z, 0-9 and - inside, at most {LABEL_OCTETS} of them"
    raise Mistake(f"{what} can't be {text[:_SHOWN]!r}; {allowed}{meant}")


def _nearest_label(text: str) -> str:
    """Return the label that comes closest: "My Cache" is my-cache, "Größe" is grosse; "" for none."""
    plain = unicodedata.normalize("NFKD", text[: 4 * LABEL_OCTETS].casefold())
    ascii_only = "".join(letter for letter in plain if not unicodedata.combining(letter))
    return re.sub("[^a-z0-9]+", "-", ascii_only).strip("-")[:LABEL_OCTETS].strip("-")


def port(name: str, number: int) -> None:
    """Check a port of a Service.  Raises Mistake."""
    label("the name of a port", name)
    if number not in PORTS:
        raise Mistake(f"port {name} can't be {number}; allowed: {PORTS[0]}..{PORTS[-1]}")


def alias(text: str) -> str:
    """Return a name of its own for a Service in its one form.  Raises Mistake."""
    if fault := fault_of(text):
        raise Mistake(f"an alias can't be {text[:_SHOWN]!r}: {fault}")
    return spelt(text)


def address(text: str) -> str:
    """Return an address in its one form (RFC 5952).  Raises Mistake for what no one host can have."""
    if _is_address(text):
        if errors := unicast_errors(str(ip_address(text))):
            raise Mistake(f"{text} is no address of one host: {errors[0]}")
        return str(ip_address(text))
    raise Mistake(f"{text[:_SHOWN]!r} is no address{_instead(text)}")


def _is_address(text: str) -> bool:
    return not address_errors(text)


def _instead(text: str) -> str:
    """Return what somebody who typed this may have meant, as the rest of a sentence."""
    host, colon, number = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if colon and number.isdecimal() and _is_address(host):
        return f": say its port apart, {host} --port {number}"
    if "/" in text:
        try:
            return f" but a network; say one address of it, such as {ip_interface(text).ip}"
        except ValueError:
            pass
    if "%" in text and _is_address(text.partition("%")[0]):
        return ": one with a zone is good on one machine only; say one that others reach"
    if re.search("[A-Za-z]", text) and ":" not in text:
        return ": a host name answers nothing here; say where it is, such as 10.0.0.5"
    if text and (why := address_errors(text)[0]).startswith("must not"):
        return f": {why}"
    return "; allowed: such as 10.0.0.5 or 2001:db8::5"
