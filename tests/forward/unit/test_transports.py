"""Asking upstreams over UDP, TCP, TLS and HTTPS: real servers, and one that misbehaves."""

import asyncio
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import dns.edns
import dns.message
import dns.rdatatype
import pytest
from forward.unit.transports_harness import (
    HANG,
    HUGE,
    KINDS,
    MANY,
    SOON,
    WWW,
    ask_for,
    data_of,
    exchange,
    no_reply,
    text_of,
    upstream,
)
from peers.replies import reply
from toolbox.misbehaving import Misbehaving
from toolbox.scripted_upstream import ScriptedUpstream
from toolbox.upstreams import HOST, Certificates, Knot, Unbound, free_port

from svcdns.config.upstream_spec import parse
from svcdns.forward.upstreams.factory import make
from svcdns.forward.upstreams.upstream import NoReply


@pytest.fixture(scope="module")
def unbound(need: Callable[..., str]) -> Iterator[Unbound]:
    need("unbound")
    with Unbound() as running:
        yield running


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


# Upstreams that are well


@pytest.mark.parametrize("kind", KINDS)
async def test_answers_of_every_kind(unbound: Unbound, kind: str) -> None:
    www, alias, nowhere, nodata = await exchange(
        text_of(unbound, kind),
        WWW,
        ask_for("alias.example.org.", "AAAA"),
        ask_for("nowhere.example.org."),
        ask_for("www.example.org.", "SRV"),
        ca=unbound.ca,
    )
    assert data_of(www) == ["192.0.2.10"] and www.lifetime == 300
    assert data_of(alias) == ["2001:db8::10", "www.example.org."] and alias.lifetime == 200
    assert (nowhere.rcode, nowhere.counts, nowhere.lifetime) == (3, (0, 1, 0), 60)
    assert (nodata.rcode, nodata.counts, nodata.lifetime) == (0, (0, 1, 0), 60)


@pytest.mark.parametrize("kind", KINDS)
async def test_long_answers_come_whole(unbound: Unbound, kind: str) -> None:
    """Over UDP they are truncated and asked for again over TCP."""
    asks = ask_for("many.example.org."), ask_for("huge.example.org.", "TXT")
    many, huge = await exchange(text_of(unbound, kind), *asks, ca=unbound.ca)
    assert (many.counts[0], huge.counts[0]) == (MANY, HUGE)
    assert len(huge.wire) > 60_000 and not huge.truncated


async def test_knot_answers_over_udp_and_tcp(need: Callable[..., str]) -> None:
    need("knotd")
    with Knot() as knot:
        for text in (knot.address, f"tcp://{knot.address}"):
            www, many = await exchange(text, WWW, ask_for("many.example.org."))
            assert data_of(www) == ["192.0.2.10"] and many.counts[0] == MANY


@pytest.mark.parametrize("kind", KINDS)
async def test_many_at_once(unbound: Unbound, kind: str) -> None:
    async with upstream(text_of(unbound, kind), unbound.ca) as made:
        names = ("www", "mail", "many", "short", "nowhere")
        # No more than a server's receive buffer holds: over UDP nobody sends again.
        asks = [ask_for(f"{names[number % 5]}.example.org.") for number in range(150)]
        replies = await asyncio.gather(*(made.exchange(ask, HANG) for ask in asks))
    assert [len(data_of(reply)) for reply in replies] == [1, 1, MANY, 1, 0] * 30


@pytest.mark.parametrize("kind", KINDS)
async def test_an_upstream_that_restarts_between_two_queries(need: Callable[..., str], kind: str) -> None:
    need("unbound")
    with Unbound() as server:
        async with upstream(text_of(server, kind), server.ca) as made:
            for _ in range(3):
                assert data_of(await made.exchange(WWW, HANG)) == ["192.0.2.10"]
                await asyncio.to_thread(server.stop)
                await asyncio.to_thread(server.start)
            assert data_of(await made.exchange(WWW, HANG)) == ["192.0.2.10"]
            await asyncio.to_thread(server.stop)
            with pytest.raises(NoReply):
                await made.exchange(WWW, HANG)
            await asyncio.to_thread(server.start)
            assert data_of(await made.exchange(WWW, HANG)) == ["192.0.2.10"]


# Certificates


@pytest.mark.parametrize("kind", ["tls", "https"])
async def test_a_certificate_by_an_unknown_ca_is_refused(
    unbound: Unbound, certificates: Certificates, kind: str
) -> None:
    for ca in (certificates.ca, None):
        why, seconds = await no_reply(text_of(unbound, kind), HANG, ca)
        assert "certificate" in why and seconds < SOON


async def test_the_name_of_the_certificate_counts(unbound: Unbound) -> None:
    tls, path = f"tls://{HOST}:{unbound.tls_port}", f":{unbound.https_port}/dns-query#{HOST}"
    for good in (f"{tls}#dns.example", f"https://dns.example{path}", f"https://localhost{path}"):
        assert data_of((await exchange(good, WWW, ca=unbound.ca))[0]) == ["192.0.2.10"]
    assert data_of((await exchange(f"tls://localhost:{unbound.tls_port}", WWW, ca=unbound.ca))[0])
    for bad in (f"{tls}#other.example", f"https://other.example{path}"):
        why, seconds = await no_reply(bad, HANG, unbound.ca)
        assert "other.example" in why and seconds < SOON
    other_address = f"tls://127.0.0.2:{unbound.tls_port}"
    assert (await no_reply(other_address, HANG, unbound.ca))[1] < SOON


def test_an_upstream_is_not_made_without_its_certificates(tmp_path: Path) -> None:
    (tmp_path / "empty.pem").write_text("")
    for ca in (tmp_path / "none.pem", tmp_path / "empty.pem"):
        with pytest.raises(OSError, match=r"\w"):
            make(parse("tls://192.0.2.1"), ca)


# Upstreams that are not


async def test_a_server_that_is_not_there_is_noticed_at_once() -> None:
    for text in (f"{HOST}:{free_port()}", f"tcp://{HOST}:{free_port()}", f"https://{HOST}:{free_port()}/q"):
        why, seconds = await no_reply(text, HANG)
        assert why == "Connection refused" and seconds < SOON


@pytest.mark.parametrize("behaviour", ["silent", "garbage", "wrong_id", "wrong_question", "slow", "closes"])
async def test_over_udp_waiting_ends_with_the_time(behaviour: str) -> None:
    with Misbehaving(behaviour, seconds=HANG) as server:
        why, seconds = await no_reply(server.address, 0.3)
        assert why == "no reply in time" and 0.3 <= seconds < SOON
        assert server.count >= 1


@pytest.mark.parametrize("behaviour", ["silent", "garbage", "wrong_id", "dribble", "slow"])
@pytest.mark.parametrize("tls", [False, True])
async def test_over_a_stream_waiting_ends_with_the_time(
    behaviour: str, tls: bool, certificates: Certificates
) -> None:
    with Misbehaving(behaviour, seconds=HANG, certificates=certificates if tls else None) as server:
        why, seconds = await no_reply(f"{'tls' if tls else 'tcp'}://{server.address}", 0.5, certificates.ca)
        assert why == "no reply in time" and 0.5 <= seconds < SOON


@pytest.mark.parametrize("behaviour", ["wrong_question", "closes", "truncated_only"])
async def test_over_tcp_a_bad_reply_is_the_end(behaviour: str) -> None:
    with Misbehaving(behaviour) as server:
        why, seconds = await no_reply(f"tcp://{server.address}", HANG)
        assert why and seconds < SOON


@pytest.mark.parametrize("behaviour", ["servfail", "refused", "nxdomain"])
async def test_other_rcodes_are_replies(behaviour: str) -> None:
    with Misbehaving(behaviour) as server:
        found = (await exchange(server.address, WWW))[0]
    assert found.rcode == {"servfail": 2, "refused": 5, "nxdomain": 3}[behaviour]


async def test_spoofed_replies_are_counted_and_not_taken() -> None:
    with Misbehaving("spoofed") as server:
        async with upstream(server.address) as made:
            found, garbage = await made.exchange(ask_for("www.example.org.", "TXT"), HANG), made.garbage
    assert data_of(found) == ['"upstream"'] and garbage == 3


async def test_ports_and_ids_can_not_be_guessed() -> None:
    with Misbehaving() as server:
        await exchange(server.address, *[WWW] * 200)
        idents = [query.id for query in server.asked]
        for seen in (idents, server.ports):
            steps = {after - before for before, after in pairwise(seen)}
            assert len(set(seen)) > 180 and len(steps) > 180


async def test_a_truncated_reply_is_asked_for_over_tcp_in_the_time_that_is_left() -> None:
    with Misbehaving("truncated") as server:
        assert data_of((await exchange(server.address, ask_for("a.example.", "TXT")))[0]) == ['"upstream"']
        server.behaviour = "huge"
        assert len((await exchange(server.address, ask_for("a.example.", "TXT")))[0].wire) > 55_000
        server.behaviour = "truncated_only"
        (cut,) = await exchange(server.address, WWW)
        assert cut.truncated and not cut.ttl_at, "over UDP it is handed on as cut"


async def test_a_datagram_that_is_longer_than_ours_is_asked_for_over_tcp() -> None:
    """Without TC: the rest of it is lost to us."""
    many = [f"@ 60 A 192.0.2.{number}" for number in range(200)]
    with ScriptedUpstream(
        lambda query: [reply(query, ["@ 60 A 192.0.2.7"] if query.tcp else many)]
    ) as server:
        assert data_of((await exchange(f"127.0.0.1:{server.port}", WWW))[0]) == ["192.0.2.7"]


@pytest.mark.parametrize("behaviour", ["formerr_on_edns", "notimp_on_edns"])
@pytest.mark.parametrize("kind", ["udp", "tcp"])
async def test_a_server_that_knows_no_edns_is_asked_without(behaviour: str, kind: str) -> None:
    with Misbehaving(behaviour) as server:
        text = server.address if kind == "udp" else f"tcp://{server.address}"
        for found in await exchange(text, WWW, WWW, WWW):
            assert data_of(found) == ["192.0.2.7"]
        assert [query.edns for query in server.asked] == [0, -1, -1, -1]


async def test_upstreams_over_ipv6(need: Callable[..., str]) -> None:
    need("unbound")
    with Unbound(host="::1", names=("::1",)) as server:
        for kind in KINDS:
            (found,) = await exchange(text_of(server, kind), WWW, ca=server.ca)
            assert data_of(found) == ["192.0.2.10"], kind
        assert server.queries("www.example.org.", "A") == len(KINDS)
        (whole,) = await exchange(server.address, ask_for("many.example.org."))
        assert len(data_of(whole)) == MANY, "over TCP, as it is truncated over UDP"


@pytest.mark.parametrize("kind", ["udp", "tcp", "tls"])
@pytest.mark.parametrize("octets", [1, 30, 63])
async def test_over_tls_the_size_does_not_tell_the_name(
    kind: str, octets: int, certificates: Certificates
) -> None:
    text = {"udp": "{}", "tcp": "tcp://{}", "tls": "tls://{}"}[kind]
    with Misbehaving(certificates=certificates if kind == "tls" else None) as server:
        name = "x" * octets
        ask = ask_for(f"{name}.{name}.{name}.example.", do=octets == 1)
        await exchange(text.format(server.address), ask, ca=certificates.ca)
        (query,) = server.asked
    assert query.wire is not None
    paddings = [option.otype for option in query.options]
    if kind == "tls":
        assert len(query.wire) % 128 == 0, "RFC 8467 section 4.1"
        assert paddings == [dns.edns.OptionType.PADDING]
    else:
        assert len(query.wire) == 12 + len(ask.name) + 4 + 11
        assert not paddings
