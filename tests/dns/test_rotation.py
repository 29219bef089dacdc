"""Each RR of a set comes first equally often, in every way that a set is sent."""

from collections import Counter

import pytest
from toolbox.answerer_harness import AnswererHarness, Z

from svcdns.dns.stats import TCP, UDP

ROUNDS = 1500


@pytest.mark.parametrize(
    ("service", "rrtype", "edns", "transport"),
    [
        ("db", "A", None, UDP),  # plain, one size
        ("many", "SRV", None, TCP),  # plain, offset table
        ("many", "SRV", 1232, UDP),  # exact path: additionals left out
        ("many", "SRV", 600, UDP),  # answers left out
        ("many", "CNAME", 1232, UDP),  # through an alias
    ],
)
def test_first_rr_is_fair(
    world: AnswererHarness, service: str, rrtype: str, edns: int | None, transport: int
) -> None:
    name = f"{service}.default.svc.{Z}"
    if rrtype == "CNAME":
        from toolbox.answerer_harness import rrset

        world.put(f"alias.default.svc.{Z}", rrset("CNAME", name + "."))
        name, rrtype = f"alias.default.svc.{Z}", "A"
    size = 5 if service == "db" else 20
    firsts: Counter[str] = Counter()
    for _ in range(ROUNDS):
        firsts[str(world.ask(name, rrtype, edns=edns, transport=transport).answer[-1][0])] += 1
    expected = ROUNDS / size
    assert len(firsts) == size
    # Six standard deviations of a binomial count: about one false alarm in 10 million runs.
    slack = 6 * (expected * (1 - 1 / size)) ** 0.5
    assert all(abs(count - expected) < slack for count in firsts.values())


def test_all_rrs_are_there_once(shared_world: AnswererHarness) -> None:
    for _ in range(100):
        reply = shared_world.ask(f"many.default.svc.{Z}", "SRV", edns=1232)
        assert len({rdata.target for rdata in reply.answer[0]}) == 20
