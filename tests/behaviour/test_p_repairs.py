"""What upstreams say that is not theirs to say, or not as a stub resolver needs it."""

from collections.abc import AsyncIterator
from typing import Any

import dns.message
import dns.rcode
import dns.rrset
import pytest
from behaviour.cluster_harness import SVC, Z
from behaviour.objects import external, service
from toolbox.misbehaving import Misbehaving

from svcdns.config.sections import ForwardZone


class Saying(Misbehaving):
    """Says the same to every question: RRs as text, for answer, authority and additional section."""

    def __init__(self, *sections: list[str], rcode: int = 0) -> None:
        super().__init__()
        self.sections = sections
        self.rcode = rcode

    async def replies(self, wire: bytes, *, over_tcp: bool) -> AsyncIterator[bytes]:
        query = dns.message.from_wire(wire)
        self.asked.append(query)
        made = dns.message.make_response(query)
        for section, texts in zip(
            (made.answer, made.authority, made.additional), self.sections, strict=False
        ):
            for text in texts:
                owner, rrtype, data = text.split(" ", 2)
                section.append(dns.rrset.from_text(owner, 60, "IN", rrtype, data))
        made.set_rcode(dns.rcode.Rcode(self.rcode))
        yield made.to_wire()


WEB = f"web.{SVC}."
FORGED = f"{WEB} A 6.6.6.6"
BESIDE = [f"example.com. NS {WEB}", f"{Z}. NS ns.evil.example.", f"{WEB} NSEC {Z}. A"]


def owners(lines: list[str]) -> list[str]:
    return [line.split()[0] for line in lines]


class TestOurNames:
    """No upstream can say anything about them, in any section, whatever is asked and whatever the rcode."""

    @pytest.mark.row("P2")
    @pytest.mark.parametrize("rcode", [0, 3, 6])
    @pytest.mark.parametrize("rrtype", ["A", "TXT", "MX", "SRV", "NS", "HTTPS", "CNAME", "ANY"])
    def test_in_every_section(self, forward_to: Any, rrtype: str, rcode: int) -> None:
        data = {"MX": f"1 {WEB}", "SRV": f"1 1 1 {WEB}", "NS": WEB}.get(rrtype)
        answer = [f"x.example.com. {rrtype} {data}"] if data else [f"x.example.com. CNAME {WEB}", FORGED]
        with Saying(answer, BESIDE, [FORGED, "ns.evil.example. A 192.0.2.66"], rcode=rcode) as upstream:
            world = forward_to([upstream.address], service("web", clusterIP="10.96.0.10"))
            for how in ({}, {"tcp": True}, {"edns": 1232}):
                reply = world.ask("x.example.com", rrtype, **how)
                assert "6.6.6.6" not in reply.rdata
                everything = [*reply.answer, *reply.authority, *reply.additional]
                assert not [line for line in everything if "6.6.6.6" in line]
                assert not {f"{Z}.", WEB} & {*owners(reply.additional)}
                if reply.rcode == "YXDOMAIN" or data or rrtype in ("CNAME", "ANY"):
                    assert not {f"{Z}.", WEB} & {*owners(everything)}
            assert world.ask(WEB).rdata == ["10.96.0.10"]

    @pytest.mark.row("P2")
    def test_what_is_said_about_others_stays(self, forward_to: Any) -> None:
        beside = ["example.com. NS ns.example.net.", "example.com. NS " + WEB]
        with Saying(
            ["x.example.com. MX 1 m.example.com."], beside, ["m.example.com. A 192.0.2.7", FORGED]
        ) as up:
            reply = forward_to([up.address]).ask("x.example.com", "MX")
            assert owners(reply.additional) == ["m.example.com."]
            assert owners(reply.authority) == ["example.com.", "example.com."]


class TestAnswers:
    @pytest.mark.row("P1")
    @pytest.mark.parametrize("how", [{}, {"tcp": True}, {"edns": 1232}])
    def test_are_put_in_order_fresh_and_cached(self, forward_to: Any, how: dict[str, Any]) -> None:
        said = [
            "z.example.com. A 192.0.2.7",
            "y.example.com. CNAME z.example.com.",
            "x.example.com. CNAME y.example.com.",
        ]
        with Saying(said) as upstream:
            world = forward_to([upstream.address])
            for _ in ("fresh", "cached"):
                reply = world.ask("x.example.com", **how)
                assert owners(reply.answer) == ["x.example.com.", "y.example.com.", "z.example.com."]
            assert [str(one.question[0].name) for one in upstream.asked].count("x.example.com.") == 1

    @pytest.mark.row("P1")
    def test_are_used_without_what_does_not_belong(self, forward_to: Any) -> None:
        """RFC 2181 section 5.4.1: as BIND and unbound do."""
        with Saying(["x.example.com. MX 1 m.example.com.", "m.example.com. A 192.0.2.7"]) as upstream:
            world = forward_to([upstream.address])
            for _ in ("fresh", "cached"):
                reply = world.ask("x.example.com", "MX")
                assert (reply.rcode, reply.rdata) == ("NOERROR", ["1 m.example.com."])
        with Saying(["m.example.com. A 192.0.2.7"]) as upstream:
            assert forward_to([upstream.address]).ask("y.example.com").rcode == "SERVFAIL"


class TestAliasesWithoutAnEnd:
    """An upstream that only has its own zone says a CNAME and nothing about its target."""

    @pytest.mark.row("P14", "D2")
    @pytest.mark.parametrize("name", ["x.corp.example", f"ext.{SVC}"])
    @pytest.mark.parametrize("tcp", [False, True])
    def test_are_followed_with_the_upstreams_of_the_target(
        self, forward_to: Any, name: str, tcp: bool
    ) -> None:
        site = Saying(["x.corp.example. CNAME www.example.com."])
        with site, Saying(["www.example.com. A 192.0.2.7"]) as upstream:
            zone = (ForwardZone("corp.example", (site.address,)),)
            world = forward_to([upstream.address], external("ext", "x.corp.example"), forward={"zone": zone})
            for _ in ("once", "again"):
                reply = world.ask(name, tcp=tcp)
                assert reply.rcode == "NOERROR"
                assert [line.split()[-1] for line in reply.answer][-2:] == ["www.example.com.", "192.0.2.7"]
            assert "www.example.com." not in [str(one.question[0].name) for one in site.asked]

    @pytest.mark.row("P14")
    def test_where_there_is_nobody_to_ask_are_no_answer(self, forward_to: Any) -> None:
        with Saying(["x.corp.example. CNAME www.example.com."]) as site:
            zone = (ForwardZone("corp.example", (site.address,)),)
            reply = forward_to([], forward={"zone": zone}).ask("x.corp.example", edns=1232)
            assert reply.rcode == "SERVFAIL"

    @pytest.mark.row("P14")
    def test_that_end_without_data_are_believed(self, forward_to: Any) -> None:
        """The SOA says that whoever answered has followed it."""
        soa = ["example.com. SOA ns.example.com. h.example.com. 1 2 3 4 5"]
        with Saying(["x.corp.example. CNAME www.example.com."], soa) as site, Saying([]) as upstream:
            zone = (ForwardZone("corp.example", (site.address,)),)
            reply = forward_to([upstream.address], forward={"zone": zone}).ask("x.corp.example")
            assert (reply.rcode, reply.rdata) == ("NOERROR", ["www.example.com."])
            assert "www.example.com." not in [str(one.question[0].name) for one in upstream.asked]
