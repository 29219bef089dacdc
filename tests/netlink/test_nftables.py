"""Messages of nf_tables: what is written into a namespace reads in `nft` as meant, and is read back."""

import errno
import json
import subprocess
from collections.abc import Iterator

import pytest
from toolbox.hosts import Host, remove

from svcdns.netlink import nft_dump, nftables
from svcdns.netlink import nft_statements as say
from svcdns.netlink.nft_expressions import Verdict, value_data, verdict_data
from svcdns.netlink.nft_statements import DPORT, IP, IP6, L4PROTO, ORIGINAL_DPORT, SPORT, Family, Rule
from svcdns.netlink.nft_types import IPV4, IPV6, PORT, PROTOCOL, SLOT, Holds, Set, show
from svcdns.netlink.nftables import Hook
from svcdns.netlink.wire import NETFILTER, Message, NetlinkError, Socket

pytestmark = pytest.mark.usefixtures("may_make_hosts")
both = pytest.mark.parametrize("family", [IP, IP6], ids=["ip", "ip6"])


@pytest.fixture(scope="module")
def host(may_make_hosts: None) -> Iterator[Host]:
    """Give a namespace."""
    made = Host()
    yield made
    remove(made)


@pytest.fixture
def socket(host: Host) -> Iterator[Socket]:
    """Give a socket there; its rules are gone afterwards."""
    with host.entered():
        made = Socket(NETFILTER)
    with made:
        yield made
    subprocess.run(host.command("nft", "flush", "ruleset"), check=True)


def listed(host: Host, *words: str) -> str:
    """Return what nft lists."""
    done = subprocess.run(host.command("nft", *words), capture_output=True, text=True)
    assert not done.returncode, done.stderr
    return done.stdout


def loaded(host: Host, text: str) -> str:
    """Return the rule set after nft has loaded a text, instead of all that was there."""
    done = subprocess.run(host.command("nft", "-f", "-"), input=f"flush ruleset\n{text}", text=True)
    assert not done.returncode, text
    return listed(host, "list", "ruleset")


def with_table(family: Family, *changes: Message) -> list[Message]:
    """Return changes behind the making of their table."""
    return [nftables.table(family.number, "t", 0, "a comment"), *changes]


def rules_of(family: Family) -> list[Rule]:
    """Return a rule for each statement."""
    key = (family.destination, L4PROTO, DPORT)
    return [
        (say.inside((family.source,), "addresses"), say.drop()),
        (say.outside((family.source, L4PROTO, SPORT), "keys"), say.back()),
        (say.inside((*key, family.source), "ranges"), say.jump("other")),
        (say.verdict_of(key, "verdicts"),),
        (say.protocol(17), say.inside((L4PROTO, ORIGINAL_DPORT), "ports"), say.goto("other")),
        (say.protocol(132), say.source_not_local(), say.destination_local(), say.drop()),
        (say.state("new"), say.state("invalid"), say.state("untracked"), say.drop()),
        (say.destination_changed(), say.drop()),
        (say.destination_unchanged(), say.inside((family.original_destination,), "addresses"), say.back()),
        (say.protocol(6), say.reset()),
        (say.unreachable(family),),
        (say.remember(family.source, family.destination, "clients", 90),),
    ]


def nat_rules_of(family: Family) -> list[Rule]:
    """Return a rule for each statement that only a chain of NAT may have."""
    key = (family.destination, L4PROTO, DPORT, say.random_below(7))
    return [
        (say.to_value(family, key, "slots"),),
        (say.protocol(6), say.to_value_at(family, (family.source,), "clients", 8080)),
    ]


def sets_of(family: Family) -> list[Set]:
    """Return a set of each shape."""
    address = family.address
    return [
        Set("addresses", (address,)),
        Set("networks", (address,), interval=True),
        Set("keys", (address, PROTOCOL, PORT)),
        Set("ranges", (address, PROTOCOL, PORT, address), interval=True),
        Set("ports", (PROTOCOL, PORT)),
        Set("verdicts", (address, PROTOCOL, PORT), Holds.VERDICTS),
        Set("clients", (address,), (address,), size=1000),
        Set("slots", (address, PROTOCOL, PORT, SLOT), (address, PORT)),
        Set("slots_of_ports", (PROTOCOL, PORT, SLOT), (address, PORT)),
        Set("plain_map", (address, PORT), (address, PORT)),
    ]


@both
def test_every_statement_and_set_lists_as_nft_itself_would_have_made_it(
    host: Host, socket: Socket, family: Family
) -> None:
    number = family.number
    chains = {"every": rules_of(family), "nat_in": nat_rules_of(family), "source": [(say.masquerade(),)]}
    made = [nftables.new_set(number, "t", one, place) for place, one in enumerate(sets_of(family), 1)]
    made += [nftables.chain(number, "t", "other"), nftables.chain(number, "t", "every")]
    made.append(nftables.base_chain(number, "t", "nat_in", "nat", Hook.PREROUTING, -101))
    made.append(nftables.base_chain(number, "t", "source", "nat", Hook.POSTROUTING, 99))
    made += [
        nftables.rule(number, "t", name, say.rule_octets(rule))
        for name, rules in chains.items()
        for rule in rules
    ]
    nftables.commit(socket, with_table(family, *made))
    ours = listed(host, "list", "ruleset")

    lines = [f"table {family.name} t {{", 'comment "a comment"']
    for one in sets_of(family):
        declared = one.declaration().replace("; ", "\n")
        lines += [f"{'map' if one.is_map else 'set'} {one.name} {{", declared, "}"]
    hooks = {
        "nat_in": "type nat hook prerouting priority -101;",
        "source": "type nat hook postrouting priority 99;",
    }
    for name, rules in {"other": [], **chains}.items():
        lines += [f"chain {name} {{", hooks.get(name, ""), *map(say.rule_text, rules), "}"]
    theirs = loaded(host, "\n".join([*lines, "}"]))
    assert sorted(ours.splitlines()) == sorted(theirs.splitlines())


@both
def test_elements_are_listed_as_people_write_them_and_read_back(
    host: Host, socket: Socket, family: Family
) -> None:
    address = family.address
    octets = bytes((10, 1, 2, 3)) if address is IPV4 else bytes.fromhex("fd00") + bytes(13) + b"\x03"
    key = octets + b"\x06\0\0\0" + b"\0\x50\0\0"
    slots, verdicts = sets_of(family)[7], sets_of(family)[5]
    slot_key, value = key + (3).to_bytes(4, "little"), octets + b"\x1f\x90\0\0"
    made = [nftables.new_set(family.number, "t", one, place) for place, one in enumerate(sets_of(family), 1)]
    made.append(nftables.chain(family.number, "t", "other"))
    adds = {
        "slots": [nftables.ElementForm(slots).element(slot_key, value)],
        "verdicts": [nftables.element(key, verdict_data(Verdict.GOTO, "other"))],
        "ranges": [nftables.range_element(key + octets, key + octets[:-1] + b"\xff")],
        "networks": nftables.interval(octets[:-1] + b"\0", octets[:-1] + b"\xff"),
    }
    for name, elements in adds.items():
        made += nftables.add_elements(family.number, "t", name, elements)
    nftables.commit(socket, with_table(family, *made))
    written = address.show(octets)
    text = " ".join(listed(host, "list", "ruleset").split())
    assert f"{written} . tcp . 80 . 3 : {written} . 8080" in text
    assert f"{written} . tcp . 80 : goto other" in text
    assert f"{written} . tcp . 80 . {written}-" in text
    assert "elements = { 10.1.2.0/24 }" in text or "elements = { fd00::/120 }" in text

    (slot,) = nft_dump.elements(socket, family.number, "t", "slots")
    assert (slot.key, slot.value) == (slot_key, value)
    assert show(slots.key, slot.key) == f"{written} . tcp . 80 . 3"
    (verdict,) = nft_dump.elements(socket, family.number, "t", "verdicts")
    assert verdict.verdict == (Verdict.GOTO, "other")
    (one,) = nft_dump.elements(socket, family.number, "t", "ranges")
    assert (one.key, one.key_end) == (key + octets, key + octets[:-1] + b"\xff")
    ends = {found.interval_end for found in nft_dump.elements(socket, family.number, "t", "networks")}
    assert ends == {False, True}
    assert nft_dump.sets(socket, family.number, "t") == {one.name for one in sets_of(family)}
    assert nft_dump.chains(socket, family.number, "t") == {"other"}
    assert [one.name for one in nft_dump.tables(socket, family.number)] == ["t"]

    removed = nftables.delete_elements(family.number, "t", verdicts.name, [nftables.element(key)])
    nftables.commit(socket, [*removed, nftables.flush_set(family.number, "t", "slots")])
    assert nft_dump.elements(socket, family.number, "t", "slots") == []
    assert nft_dump.elements(socket, family.number, "t", "verdicts") == []


def test_a_range_may_reach_to_the_last_address(host: Host, socket: Socket) -> None:
    everything = Set("networks", (IPV4,), interval=True)
    elements = nftables.interval(bytes(4), b"\xff" * 4)
    made = [nftables.new_set(2, "t", everything, 1), *nftables.add_elements(2, "t", "networks", elements)]
    nftables.commit(socket, with_table(IP, *made))
    assert "elements = { 0.0.0.0/0 }" in listed(host, "list", "ruleset")


def test_more_elements_than_one_attribute_holds_are_one_change(host: Host, socket: Socket) -> None:
    declared = Set("keys", (IPV6, PROTOCOL, PORT))
    form = nftables.ElementForm(declared)
    keys = [number.to_bytes(16) + b"\x06\0\0\0" + b"\0\x50\0\0" for number in range(20_000)]
    adds = list(nftables.add_elements(10, "t", "keys", map(form.element, keys)))
    assert len(adds) > 10
    nftables.commit(socket, with_table(IP6, nftables.new_set(10, "t", declared, 1), *adds))
    assert {found.key for found in nft_dump.elements(socket, 10, "t", "keys")} == set(keys)


def test_a_batch_takes_effect_as_a_whole_or_not_at_all_and_says_which_message_was_refused(
    host: Host, socket: Socket
) -> None:
    wrong = [
        nftables.chain(2, "t", "one"),
        nftables.rule(2, "nowhere", "one", b""),
        nftables.chain(2, "t", "two"),
    ]
    with pytest.raises(NetlinkError) as raised:
        nftables.commit(socket, with_table(IP, *wrong))
    assert (raised.value.errno, raised.value.index) == (errno.ENOENT, 3)  # the batch's begin is 0
    assert json.loads(listed(host, "-j", "list", "ruleset"))["nftables"][1:] == []
    nftables.commit(socket, with_table(IP, nftables.chain(2, "t", "one")))  # left-over answers are not its
    assert nft_dump.chains(socket, 2, "t") == {"one"}


def test_a_rehearsal_says_what_would_happen_and_does_nothing(host: Host, socket: Socket) -> None:
    nftables.rehearse(socket, with_table(IP, nftables.chain(2, "t", "one")))
    with pytest.raises(NetlinkError):
        nftables.rehearse(socket, [nftables.chain(2, "t", "one")])
    assert nft_dump.tables(socket, 2) == []


def test_refusals_beyond_the_sockets_room_still_say_what_was_refused(socket: Socket) -> None:
    with pytest.raises(NetlinkError) as raised:
        nftables.commit(socket, [nftables.chain(2, "nowhere", f"c{number}") for number in range(20_000)])
    assert (raised.value.errno, raised.value.index) == (errno.ENOENT, 1)
    nftables.commit(socket, with_table(IP))
    assert [one.name for one in nft_dump.tables(socket, 2)] == ["t"]


def test_what_is_missing_may_be_deleted_where_the_kernel_knows_how(host: Host, socket: Socket) -> None:
    declared = Set("addresses", (IPV4,))
    nftables.commit(socket, with_table(IP, nftables.new_set(2, "t", declared, 1)))
    missing = [nftables.element(bytes(4))]
    with pytest.raises(NetlinkError) as raised:
        nftables.commit(socket, nftables.delete_elements(2, "t", "addresses", missing))
    assert raised.value.errno == errno.ENOENT
    try:
        nftables.commit(socket, nftables.delete_elements(2, "t", "addresses", missing, missing_is_fine=True))
    except NetlinkError as wrong:
        assert wrong.errno == errno.EINVAL  # before Linux 6.3


def test_the_two_ways_to_make_an_element_agree() -> None:
    for one in (Set("s", (IPV4,)), Set("m", (IPV6, PROTOCOL, PORT, SLOT), (IPV6, PORT))):
        value = bytes(20) if one.is_map else b""
        by_parts = nftables.element(bytes(one.key_octets), value_data(value) if value else b"")
        assert nftables.ElementForm(one).element(bytes(one.key_octets), value) == by_parts
