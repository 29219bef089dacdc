"""Signed zone files in front of a whole registry: forwarding, transfer, and what others do not get."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import dns.rdatatype
from toolbox.signed_zones import Nsec3, sign
from toolbox.upstreams import Unbound


def covered(section: list[Any]) -> set[str]:
    """The types whose RRSIGs stand in a section, with their owners."""
    return {f"{rrset.name} {rrset.covers.name}" for rrset in section if rrset.rdtype == dns.rdatatype.RRSIG}


def test_an_alias_that_leads_outside_keeps_its_rrsigs_and_proofs(
    need: Callable[..., str], forward_to: Any, tmp_path: Path
) -> None:
    need("dnssec-signzone")
    text = sign("dnssec-signzone", tmp_path / "signed", Nsec3()).text
    with Unbound("www.example.net. 300 IN A 192.0.2.10") as upstream:
        world = forward_to([upstream.address])
        world.zone_file(text)
        for _ in range(2):  # from the upstream, then from the cache
            reply = world.ask("far.example.org", edns=4096, do=True).message
            assert [rrset.rdtype.name for rrset in reply.answer][:1] == ["CNAME"]
            assert "192.0.2.10" in [str(rrset[0]) for rrset in reply.answer]
            assert covered(reply.answer) == {"far.example.org. CNAME"}
        wild = world.ask("x.outside.example.org", edns=4096, do=True).message
        assert covered(wild.answer) == {"x.outside.example.org. CNAME"}
        assert [rrset.rdtype.name for rrset in wild.authority] == ["NSEC3", "RRSIG"], "nothing is closer"
        plain = world.ask("x.outside.example.org").message
        assert [rrset.rdtype.name for rrset in plain.answer] == ["CNAME", "A"] and not plain.authority
        lost = world.ask("lost.example.org", edns=4096, do=True).message
        assert {"example.org. SOA"} < covered(lost.authority)
