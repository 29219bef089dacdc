"""One question to one DNS server, its reply shown as dig would."""

from __future__ import annotations

import shlex
import time
from collections.abc import Mapping
from ipaddress import ip_address
from pathlib import Path

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.query
import dns.rcode
import dns.rdatatype
import dns.reversename

from svcdns.config.listening import DATA_FOLDERS, dns_of_running
from svcdns.config.readers import endpoint
from svcdns.config.sections import ConfigError, Endpoint
from svcdns.wire.dig_text import sections_text

from .flags import flag_value
from .outcome import Refused

DEFAULT_SERVER = "127.0.0.1:1053"
_DNS_PORT = 53
_UDP_OCTETS = 1232


def ask(
    name: str, rrtype: str | None, server: str | None, timeout: float, environ: Mapping[str, str]
) -> tuple[str, bool, str]:
    """Return the reply as text, whether it is NOERROR with an answer, and a hint for who expected one.

    `timeout` is in seconds, for each of UDP and TCP.  Raises ConfigError for what can't be asked, and Refused
    where the server does not answer.
    """
    question = _question(name, rrtype)
    where = _server(server, environ)
    try:
        began = time.monotonic()
        reply, over_tcp = dns.query.udp_with_fallback(
            question, where.host, timeout=timeout, port=where.port, ignore_unexpected=True
        )
        took = time.monotonic() - began
    except dns.exception.Timeout:
        raise Refused(f"{where} did not answer within {timeout:g} s") from None
    except (OSError, EOFError) as failed:
        said = getattr(failed, "strerror", None) or str(failed) or "connection closed"
        raise Refused(f"{where} did not answer: {said.lower()}") from None
    except dns.exception.DNSException as failed:
        raise Refused(f"{where} sent what is no DNS reply: {failed}") from None
    transport = "TCP" if over_tcp else "UDP"
    text = f";; {_status(reply)}, {1000 * took:.1f} ms over {transport} from {where}\n{sections_text(reply)}"
    answered = reply.rcode() == dns.rcode.NOERROR and bool(reply.answer)
    return text, answered, "" if answered else _hint(name, reply, is_ours=server is None)


def _hint(name: str, reply: dns.message.Message, *, is_ours: bool) -> str:
    """Return what finds out why there is no answer, where the server may be a svcdns."""
    if reply.rcode() == dns.rcode.REFUSED and is_ours:
        return (
            f"refused: is this machine in the server's access list ([acl], docs/config.md)? svcdns why {name}"
        )
    says_no = reply.rcode() in (dns.rcode.NXDOMAIN, dns.rcode.NOERROR)
    if says_no and (is_ours or reply.flags & dns.flags.AA):
        return f"no answer; why: svcdns why {shlex.quote(name)}"
    return ""


def _question(name: str, rrtype: str | None) -> dns.message.QueryMessage:
    try:
        reverse = dns.reversename.from_address(str(ip_address(name)))
    except ValueError:
        reverse = None
    try:
        kind = dns.rdatatype.from_text(rrtype or ("PTR" if reverse else "A"))
    except (dns.exception.DNSException, ValueError):
        raise ConfigError(f"{rrtype!r} is no record type; allowed: such as A, AAAA, SRV, PTR, TXT") from None
    try:
        asked = reverse or dns.name.from_text(name)
    except (dns.exception.DNSException, UnicodeError) as wrong:
        why = str(wrong).rstrip(".").lower().replace("dns", "DNS")
        raise ConfigError(f"{name[:80]!r} is no domain name: {why}; allowed: such as example.com") from None
    return dns.message.make_query(asked, kind, use_edns=0, payload=_UDP_OCTETS)


def _server(text: str | None, environ: Mapping[str, str]) -> Endpoint:
    """Return whom to ask: the flag, else where this machine's svcdns listens."""
    source = "--server"
    if text is None:
        listening = environ.get("SVCDNS_DNS_LISTEN", "").split(",")[0].strip()
        source, text = ("SVCDNS_DNS_LISTEN", listening) if listening else ("default", _running(environ))
    try:
        found = Endpoint(str(ip_address(text.removeprefix("[").removesuffix("]"))), _DNS_PORT)
    except ValueError:
        found = flag_value(source, endpoint, text)
    if found.port == 0:
        raise ConfigError(f"{source}: {found} names no port; allowed: 1..65535")
    if ip_address(found.host).is_unspecified:
        return Endpoint("::1" if ":" in found.host else "127.0.0.1", found.port)
    return found


def _running(environ: Mapping[str, str]) -> str:
    """Return where a server that runs on a data folder of this machine answers, else the default."""
    named = environ.get("SVCDNS_DATA", "")
    for folder in [Path(named)] if named else DATA_FOLDERS:
        if found := dns_of_running(folder):
            return str(found[0])
    return DEFAULT_SERVER


def _status(reply: dns.message.Message) -> str:
    flags = dns.flags.to_text(reply.flags).lower() or "none"
    answers = sum(len(rrset) for rrset in reply.answer)
    errors = "".join(f", {option.to_text()}" for option in reply.options)
    count = "1 answer" if answers == 1 else f"{answers} answers"
    return f"{dns.rcode.to_text(reply.rcode())}, flags {flags}, {count}{errors}"
