"""Other people's packet rules: which chains there are, and what stands in their rules."""

import contextlib
import subprocess
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from netlink.sockets import socket_on
from toolbox.hosts import Host, remove

from svcdns.netlink import rulesets, wire
from svcdns.netlink.rulesets import Chain

RULES = """
table inet fw { chain forward { type filter hook forward priority 5; policy drop;
    ct status dnat accept comment "here it is"
  }
  chain others { counter
  }
}
table ip6 nat { chain to { type nat hook prerouting priority -100;
  }
}
"""


@pytest.fixture
def host(may_change_rules: None) -> Iterator[Host]:
    made = Host()
    try:
        subprocess.run(made.command("nft", "-f", "-"), input=RULES, text=True, check=True)
        yield made
    finally:
        remove(made)


def test_chains_of_all_tables_with_their_hooks_and_policies(host: Host) -> None:
    with socket_on(host, wire.NETFILTER) as asked:
        assert set(rulesets.chains(asked)) == {
            Chain("inet", "fw", "forward", rulesets.FORWARD, 5, rulesets.DROP),
            Chain("inet", "fw", "others"),
            Chain("ip6", "nat", "to", rulesets.PREROUTING, -100, rulesets.ACCEPT),
        }


def test_a_text_is_found_in_the_rules_of_its_chain(host: Host) -> None:
    with socket_on(host, wire.NETFILTER) as asked:
        (rule,) = rulesets.rules(asked, "inet", "fw", "forward")
        assert b"here it is" in rule
        (other,) = rulesets.rules(asked, "inet", "fw", "others")
        assert b"here it is" not in other
        assert rulesets.rules(asked, "ip6", "nat", "to") == []


def test_a_chain_that_is_not_there_has_no_rules(host: Host) -> None:
    with socket_on(host, wire.NETFILTER) as asked:
        assert rulesets.rules(asked, "inet", "fw", "none") == []
        assert rulesets.rules(asked, "ip", "none", "none") == []


@given(st.binary(max_size=120))
def test_octets_of_any_kind_are_a_chain_or_malformed(octets: bytes) -> None:
    with contextlib.suppress(wire.Malformed):
        rulesets.read_chain(octets)
