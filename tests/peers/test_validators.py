"""Validators that trust a zone's key: what we answer from a signed zone is secure to unbound and to delv."""

import random
import re
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import dns.flags
import dns.message
import dns.query
import dns.rcode
import pytest
from dns.message import Message
from toolbox.authorities import Validator
from toolbox.running_server import RunningServer
from toolbox.signed_zones import ORIGIN, Nsec3, sign
from toolbox.upstreams import HANG_SECONDS, HOST

QUESTIONS = 300
LABELS = r"""www alias alias2 to-wild to-alias to-moved here.wild x.ent.wild ent.wild *.wild wild x.*.starred
    deep.er.still
    er.still still deep.er er _imap._tcp _tcp svc moved big many Ns1 mail dot\.ted UPPER.Case Case"""
"""Names that exist.  Not among them: names below `starred`, where unbound takes no proof by NSEC."""
OTHERS = """lost suz insecure1 x.wild a.b.wild x.cnames cnames cnames.x dead x.dead insecure3 two.insecure3
    zzz 0 x.www x.moved"""
"""Names that lead to none, are between others, or are only there by a wildcard or a DNAME."""
TYPES = ["A", "AAAA", "MX", "TXT", "NS", "SOA", "SRV", "HTTPS", "CAA", "DNSKEY", "NSEC3PARAM"]
DELEGATIONS = {"sub": True, "insecure": False, "insecure2": False, "one.two.insecure3": False}


@dataclass(frozen=True)
class Served:
    """A server with a signed zone."""

    server: RunningServer
    anchor: str
    opt_out: bool


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(("dnssec-signzone", None), id="nsec"),
        pytest.param(("ldns-signzone", Nsec3("ab", 5)), id="nsec3"),
        pytest.param(("dnssec-signzone", Nsec3(opt_out=True)), id="opt-out"),
    ],
)
def served(
    request: pytest.FixtureRequest, need: Callable[..., str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    tool, nsec3 = request.param
    need(tool)
    folder = tmp_path_factory.mktemp("served")
    zone = sign(tool, folder / "signed", nsec3)
    (folder / "zones").mkdir()
    (folder / "zones" / f"{ORIGIN}zone").write_text(zone.text)
    with RunningServer(workers=1, config=f'[dns]\nzones = "{folder / "zones"}"\n') as server:
        yield Served(server, zone.anchor, nsec3 is not None and nsec3.opt_out)


def ask(port: int, name: str, rrtype: str) -> Message:
    query = dns.message.make_query(f"{name}.{ORIGIN}", rrtype, want_dnssec=True)
    reply, _ = dns.query.udp_with_fallback(query, HOST, HANG_SECONDS, port)
    return reply


def test_unbound_finds_every_answer_secure(need: Callable[..., str], served: Served) -> None:
    need("unbound")
    rng = random.Random()
    with Validator(served.anchor, ORIGIN, served.server.dns) as unbound:
        for _ in range(QUESTIONS):
            exists = rng.random() < 0.5
            name, rrtype = rng.choice((LABELS if exists else OTHERS).split()), rng.choice(TYPES)
            reply = ask(unbound.port, name, rrtype)
            is_secure = bool(reply.flags & dns.flags.AD)
            # Names that opt-out covers may be delegated without DS: no more than that is proven.
            secure = is_secure or (served.opt_out and not (exists and reply.answer and "to-" not in name))
            understood = reply.rcode() in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN)
            assert understood and secure, f"{name} {rrtype}\n{reply}\n{unbound.log()[-2000:]}"
        for name, has_ds in DELEGATIONS.items():
            reply = ask(unbound.port, name, "DS")
            assert (reply.rcode(), bool(reply.answer)) == (dns.rcode.NOERROR, has_ds)
            assert reply.flags & dns.flags.AD or served.opt_out, name


def test_delv_finds_each_kind_of_answer_secure(
    need: Callable[..., str], served: Served, tmp_path: Path
) -> None:
    delv = need("delv")
    key = re.sub(
        r"^(\S+)\s.*DNSKEY\s+(\d+) (\d+) (\d+) (.+)$", r'"\1" static-key \2 \3 \4 "\5"', served.anchor
    )
    (tmp_path / "anchor").write_text(f"trust-anchors {{ {key}; }};\n")
    address, port = served.server.dns
    for name, rrtype, says in [
        ("www", "A", "; fully validated"),
        ("alias2", "AAAA", "; fully validated"),
        ("x.wild", "A", "; fully validated"),
        ("any.moved", "MX", "; fully validated"),
        ("sub", "DS", "; fully validated"),
        ("www", "TXT", "; negative response, fully validated"),
        ("still", "A", "; negative response, fully validated"),
        ("x.wild", "TXT", "; negative response, fully validated"),
        ("nothing", "A", "; negative response, fully validated"),
        ("insecure", "DS", "; negative response, fully validated"),
    ]:
        # That no name closer than the wildcard is delegated, opt-out leaves open.
        if served.opt_out and (name, rrtype) in (("x.wild", "A"), ("any.moved", "MX")):
            says = "; unsigned answer"
        command = [delv, f"@{address}", "-p", str(port), "-a", tmp_path / "anchor", f"+root={ORIGIN}"]
        done = subprocess.run(
            [*command, f"{name}.{ORIGIN}", rrtype], capture_output=True, text=True, timeout=HANG_SECONDS
        )
        assert says in done.stdout, f"{name} {rrtype}\n{done.stdout}\n{done.stderr}"
