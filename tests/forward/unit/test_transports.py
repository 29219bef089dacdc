"""Asking upstreams over UDP, TCP, TLS and HTTPS: real servers, and one that misbehaves."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

import dns.edns
import dns.message
import dns.rdatatype
import pytest
from toolbox.misbehaving import Misbehaving
from toolbox.upstreams import HOST, Certificates, Knot, Unbound, free_port
from toolbox.waiting import until

from svcdns.config.upstream_spec import parse
from svcdns.forward.upstreams import stream
from svcdns.forward.upstreams.factory import make
from svcdns.forward.upstreams.upstream import NoReply, Upstream
from svcdns.wire.query import Query
from svcdns.wire.response import Response

HANG = 30.0
"""Seconds: an upstream that is well answers sooner."""
SOON = 10.0
"""Generous, and well below HANG."""
KINDS = ("udp", "tcp", "tls", "https")
MANY, HUGE = 200, 240
"""RRs of the names `many` and `huge` of upstreams.RECORDS."""

T = TypeVar("T")


@pytest.fixture(scope="module")
def unbound(need: Callable[..., str]) -> Iterator[Unbound]:
    need("unbound")
    with Unbound() as running:
        yield running


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


def ask_for(name: str, rrtype: str = "A", **flags: bool) -> Query:
    wire = dns.name.from_text(name).to_wire()
    assert wire is not None
    return Query(
        b"".join(reversed(wire.lower().split(b"."))), dns.rdatatype.from_text(rrtype), name=wire, **flags
    )


WWW = ask_for("www.example.org.")


def text_of(server: Unbound, kind: str) -> str:
    texts = {"udp": server.address, "tcp": f"tcp://{server.address}"}
    return texts.get(kind) or (server.tls_address if kind == "tls" else server.https_address)


@asynccontextmanager
async def upstream(text: str, ca: Path | None = None) -> AsyncIterator[Upstream]:
    """Make one; afterwards nothing of it may be left in the loop."""
    made = make(parse(text), ca)
    try:
        yield made
    finally:
        await made.close()
    assert not left_over()


def left_over() -> list[object]:
    """Return tasks beside the running one and sockets in this loop, also by way of another epoll object."""
    loop: Any = asyncio.get_running_loop()
    found: list[object] = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for key in loop._selector.get_map().values():
        if os.readlink(f"/proc/self/fd/{key.fd}") == "anon_inode:[eventpoll]":
            watched = Path(f"/proc/self/fdinfo/{key.fd}").read_text()
            found += [line for line in watched.splitlines() if line.startswith("tfd:")]
        elif key.fd != loop._ssock.fileno():
            found.append(key)
    return found


def run(work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(work)


def exchange(text: str, *asks: Query, seconds: float = HANG, ca: Path | None = None) -> list[Response]:
    """Ask one after the other."""

    async def ask_all() -> list[Response]:
        async with upstream(text, ca) as made:
            return [await made.exchange(ask, seconds) for ask in asks]

    return run(ask_all())


def data_of(received: Response) -> list[str]:
    parsed = dns.message.from_wire(received.wire)
    return sorted(rdata.to_text() for rrset in parsed.answer for rdata in rrset)


def no_reply(text: str, seconds: float, ca: Path | None = None, ask: Query = WWW) -> tuple[str, float]:
    """Return why there was none, and after how many seconds."""

    async def ask_one() -> tuple[str, float]:
        async with upstream(text, ca) as made:
            start = time.monotonic()
            with pytest.raises(NoReply) as caught:
                await made.exchange(ask, seconds)
            return str(caught.value), time.monotonic() - start

    return run(ask_one())


# Upstreams that are well


@pytest.mark.parametrize("kind", KINDS)
def test_answers_of_every_kind(unbound: Unbound, kind: str) -> None:
    www, alias, nowhere, nodata = exchange(
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
def test_long_answers_come_whole(unbound: Unbound, kind: str) -> None:
    """Over UDP they are truncated and asked for again over TCP."""
    asks = ask_for("many.example.org."), ask_for("huge.example.org.", "TXT")
    many, huge = exchange(text_of(unbound, kind), *asks, ca=unbound.ca)
    assert (many.counts[0], huge.counts[0]) == (MANY, HUGE)
    assert len(huge.wire) > 60_000 and not huge.truncated


def test_knot_answers_over_udp_and_tcp(need: Callable[..., str]) -> None:
    need("knotd")
    with Knot() as knot:
        for text in (knot.address, f"tcp://{knot.address}"):
            www, many = exchange(text, WWW, ask_for("many.example.org."))
            assert data_of(www) == ["192.0.2.10"] and many.counts[0] == MANY


@pytest.mark.parametrize("kind", KINDS)
def test_many_at_once(unbound: Unbound, kind: str) -> None:
    async def ask_many() -> list[Response]:
        async with upstream(text_of(unbound, kind), unbound.ca) as made:
            names = ("www", "mail", "many", "short", "nowhere")
            # No more than a server's receive buffer holds: over UDP nobody sends again.
            asks = [ask_for(f"{names[number % 5]}.example.org.") for number in range(150)]
            return await asyncio.gather(*(made.exchange(ask, HANG) for ask in asks))

    replies = run(ask_many())
    assert [len(data_of(reply)) for reply in replies] == [1, 1, MANY, 1, 0] * 30


@pytest.mark.parametrize("kind", KINDS)
def test_an_upstream_that_restarts_between_two_queries(need: Callable[..., str], kind: str) -> None:
    need("unbound")

    async def ask_restarting() -> None:
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

    run(ask_restarting())


# Certificates


@pytest.mark.parametrize("kind", ["tls", "https"])
def test_a_certificate_by_an_unknown_ca_is_refused(
    unbound: Unbound, certificates: Certificates, kind: str
) -> None:
    for ca in (certificates.ca, None):
        why, seconds = no_reply(text_of(unbound, kind), HANG, ca)
        assert "certificate" in why and seconds < SOON


def test_the_name_of_the_certificate_counts(unbound: Unbound) -> None:
    tls, path = f"tls://{HOST}:{unbound.tls_port}", f":{unbound.https_port}/dns-query#{HOST}"
    for good in (f"{tls}#dns.example", f"https://dns.example{path}", f"https://localhost{path}"):
        assert data_of(exchange(good, WWW, ca=unbound.ca)[0]) == ["192.0.2.10"]
    assert data_of(exchange(f"tls://localhost:{unbound.tls_port}", WWW, ca=unbound.ca)[0])
    for bad in (f"{tls}#other.example", f"https://other.example{path}"):
        why, seconds = no_reply(bad, HANG, unbound.ca)
        assert "other.example" in why and seconds < SOON
    other_address = f"tls://127.0.0.2:{unbound.tls_port}"
    assert no_reply(other_address, HANG, unbound.ca)[1] < SOON


def test_an_upstream_is_not_made_without_its_certificates(tmp_path: Path) -> None:
    (tmp_path / "empty.pem").write_text("")
    for ca in (tmp_path / "none.pem", tmp_path / "empty.pem"):
        with pytest.raises(OSError, match=r"\w"):
            make(parse("tls://192.0.2.1"), ca)


# Upstreams that are not


def test_a_server_that_is_not_there_is_noticed_at_once() -> None:
    for text in (f"{HOST}:{free_port()}", f"tcp://{HOST}:{free_port()}", f"https://{HOST}:{free_port()}/q"):
        why, seconds = no_reply(text, HANG)
        assert why == "Connection refused" and seconds < SOON


@pytest.mark.parametrize("behaviour", ["silent", "garbage", "wrong_id", "wrong_question", "slow", "closes"])
def test_over_udp_waiting_ends_with_the_time(behaviour: str) -> None:
    with Misbehaving(behaviour, seconds=HANG) as server:
        why, seconds = no_reply(server.address, 0.3)
        assert why == "no reply in time" and 0.3 <= seconds < SOON
        assert server.count >= 1


@pytest.mark.parametrize("behaviour", ["silent", "garbage", "wrong_id", "dribble", "slow"])
@pytest.mark.parametrize("tls", [False, True])
def test_over_a_stream_waiting_ends_with_the_time(
    behaviour: str, tls: bool, certificates: Certificates
) -> None:
    with Misbehaving(behaviour, seconds=HANG, certificates=certificates if tls else None) as server:
        why, seconds = no_reply(f"{'tls' if tls else 'tcp'}://{server.address}", 0.5, certificates.ca)
        assert why == "no reply in time" and 0.5 <= seconds < SOON


@pytest.mark.parametrize("behaviour", ["wrong_question", "closes", "truncated_only"])
def test_over_tcp_a_bad_reply_is_the_end(behaviour: str) -> None:
    with Misbehaving(behaviour) as server:
        why, seconds = no_reply(f"tcp://{server.address}", HANG)
        assert why and seconds < SOON


@pytest.mark.parametrize("behaviour", ["servfail", "refused", "nxdomain"])
def test_other_rcodes_are_replies(behaviour: str) -> None:
    with Misbehaving(behaviour) as server:
        found = exchange(server.address, WWW)[0]
    assert found.rcode == {"servfail": 2, "refused": 5, "nxdomain": 3}[behaviour]


def test_spoofed_replies_are_counted_and_not_taken() -> None:
    async def ask_spoofed() -> tuple[Response, int]:
        async with upstream(server.address) as made:
            return await made.exchange(ask_for("www.example.org.", "TXT"), HANG), made.garbage

    with Misbehaving("spoofed") as server:
        found, garbage = run(ask_spoofed())
    assert data_of(found) == ['"upstream"'] and garbage == 3


def test_ports_and_ids_can_not_be_guessed() -> None:
    with Misbehaving() as server:
        exchange(server.address, *[WWW] * 200)
        idents = [query.id for query in server.asked]
        for seen in (idents, server.ports):
            steps = {after - before for before, after in pairwise(seen)}
            assert len(set(seen)) > 180 and len(steps) > 180


def test_a_truncated_reply_is_asked_for_over_tcp_in_the_time_that_is_left() -> None:
    with Misbehaving("truncated") as server:
        assert data_of(exchange(server.address, ask_for("a.example.", "TXT"))[0]) == ['"upstream"']
        server.behaviour = "huge"
        assert len(exchange(server.address, WWW)[0].wire) > 55_000
        server.behaviour = "truncated_only"
        (cut,) = exchange(server.address, WWW)
        assert cut.truncated and not cut.ttl_at, "over UDP it is handed on as cut"


@pytest.mark.parametrize("behaviour", ["formerr_on_edns", "notimp_on_edns"])
@pytest.mark.parametrize("kind", ["udp", "tcp"])
def test_a_server_that_knows_no_edns_is_asked_without(behaviour: str, kind: str) -> None:
    with Misbehaving(behaviour) as server:
        text = server.address if kind == "udp" else f"tcp://{server.address}"
        for found in exchange(text, WWW, WWW, WWW):
            assert data_of(found) == ["192.0.2.7"]
        assert [query.edns for query in server.asked] == [0, -1, -1, -1]


def test_upstreams_over_ipv6(need: Callable[..., str]) -> None:
    need("unbound")
    with Unbound(host="::1", names=("::1",)) as server:
        for kind in KINDS:
            (found,) = exchange(text_of(server, kind), WWW, ca=server.ca)
            assert data_of(found) == ["192.0.2.10"], kind
        assert server.queries("www.example.org.", "A") == len(KINDS)
        (whole,) = exchange(server.address, ask_for("many.example.org."))
        assert len(data_of(whole)) == MANY, "over TCP, as it is truncated over UDP"


@pytest.mark.parametrize("kind", ["udp", "tcp", "tls"])
@pytest.mark.parametrize("octets", [1, 30, 63])
def test_over_tls_the_size_does_not_tell_the_name(kind: str, octets: int, certificates: Certificates) -> None:
    text = {"udp": "{}", "tcp": "tcp://{}", "tls": "tls://{}"}[kind]
    with Misbehaving(certificates=certificates if kind == "tls" else None) as server:
        name = "x" * octets
        ask = ask_for(f"{name}.{name}.{name}.example.", do=octets == 1)
        exchange(text.format(server.address), ask, ca=certificates.ca)
        (query,) = server.asked
    assert query.wire is not None
    paddings = [option.otype for option in query.options]
    if kind == "tls":
        assert len(query.wire) % 128 == 0, "RFC 8467 section 4.1"
        assert paddings == [dns.edns.OptionType.PADDING]
    else:
        assert len(query.wire) == 12 + len(ask.name) + 4 + 11
        assert not paddings


# Connections


@pytest.mark.parametrize("tls", [False, True])
def test_connections_are_kept_and_shared(tls: bool, certificates: Certificates) -> None:
    async def ask_often() -> None:
        async with upstream(f"{'tls' if tls else 'tcp'}://{server.address}", certificates.ca) as made:
            for _ in range(5):
                await made.exchange(WWW, HANG)
            assert server.connections == 1
            await asyncio.gather(*(made.exchange(WWW, HANG) for _ in range(500)))
            assert server.connections <= stream.CONNECTIONS
            assert server.count == 505

    with Misbehaving(certificates=certificates if tls else None) as server:
        run(ask_often())


def test_replies_are_matched_in_any_order() -> None:
    async def ask_out_of_order() -> None:
        async with upstream(f"tcp://{server.address}") as made:
            server.behaviour, server.seconds = "slow", 1.0
            slow = asyncio.create_task(made.exchange(ask_for("slow.example.", "TXT"), HANG))
            while not server.count:
                await asyncio.sleep(0)
            server.behaviour = "answers"
            assert data_of(await made.exchange(WWW, HANG)) == ["192.0.2.7"]
            assert not slow.done()
            assert data_of(await slow) == ['"upstream"'] and server.connections == 1

    with Misbehaving() as server:
        run(ask_out_of_order())


def test_a_server_that_closes_after_each_answer() -> None:
    with Misbehaving("once") as server:
        assert [data_of(found) for found in exchange(f"tcp://{server.address}", *[WWW] * 5)]
        assert server.count == 5


def test_an_idle_connection_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    async def ask_and_rest() -> None:
        async with upstream(f"tcp://{server.address}") as made:
            await made.exchange(WWW, HANG)
            assert left_over()
            await until(lambda: not left_over(), "the connection to end", HANG)
            await made.exchange(WWW, HANG)
            assert server.connections == 2

    monkeypatch.setattr(stream, "IDLE_SECONDS", 0.05)
    with Misbehaving() as server:
        run(ask_and_rest())


def test_after_a_time_out_there_is_a_new_connection() -> None:
    """TCP itself would notice a host that has vanished only after minutes."""

    async def ask_vanished() -> None:
        async with upstream(f"tcp://{server.address}") as made:
            await made.exchange(WWW, HANG)
            server.behaviour = "silent"
            with pytest.raises(NoReply):
                await made.exchange(WWW, 0.2)
            server.behaviour = "answers"
            await made.exchange(WWW, HANG)
            assert server.connections == 2

    with Misbehaving() as server:
        run(ask_vanished())


def test_https_goes_on_after_a_time_out(need: Callable[..., str]) -> None:
    need("unbound")

    async def ask_stopped() -> None:
        async with upstream(server.https_address, server.ca) as made:
            await made.exchange(WWW, HANG)
            os.kill(server.pid, signal.SIGSTOP)
            with pytest.raises(NoReply, match="no reply in time"):
                await made.exchange(WWW, 0.3)
            os.kill(server.pid, signal.SIGCONT)
            assert data_of(await made.exchange(WWW, HANG)) == ["192.0.2.10"]

    with Unbound() as server:
        run(ask_stopped())


# Ends


@pytest.mark.parametrize("kind", KINDS)
def test_closing_ends_what_is_under_way(need: Callable[..., str], kind: str) -> None:
    need("unbound")

    async def close_early() -> None:
        made = make(parse(text_of(server, kind)), server.ca)
        await made.exchange(WWW, HANG)
        os.kill(server.pid, signal.SIGSTOP)
        under_way = [asyncio.create_task(made.exchange(WWW, HANG)) for _ in range(3)]
        await asyncio.sleep(0.1)
        await made.close()
        start = time.monotonic()
        replies = await asyncio.gather(*under_way, return_exceptions=True)
        assert all(isinstance(reply, NoReply) for reply in replies)
        assert time.monotonic() - start < SOON
        with pytest.raises(NoReply):
            await made.exchange(WWW, HANG)
        assert not left_over()

    with Unbound() as server:
        run(close_early())


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.parametrize("stopped", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_a_cancelled_exchange_leaves_nothing_behind(unbound: Unbound, kind: str, stopped: bool) -> None:
    """Cancelled after more and more time, from before the first step to after the last."""

    async def cancel_all() -> None:
        ask = ask_for("many.example.org.")
        for number in range(40):
            made = make(parse(text_of(unbound, kind)), unbound.ca)
            task = asyncio.create_task(made.exchange(ask, HANG))
            if number < 10:
                for _ in range(number):
                    await asyncio.sleep(0)
            else:
                await asyncio.wait([task], timeout=0.0005 * (number - 9))
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            assert kind == "https" or number > 0 or not left_over()
            await made.close()
            await asyncio.sleep(0)
            assert not left_over(), number

    asyncio.run(asyncio.sleep(0))
    before = open_files()
    if stopped:
        os.kill(unbound.pid, signal.SIGSTOP)
    try:
        run(cancel_all())
    finally:
        os.kill(unbound.pid, signal.SIGCONT)
    assert open_files() == before


def test_many_at_once_cost_a_socket_each_and_no_more() -> None:
    async def ask_and_cancel() -> None:
        async with upstream(server.address) as made:
            tasks = [asyncio.create_task(made.exchange(WWW, HANG)) for _ in range(200)]
            await asyncio.sleep(0)
            assert len(left_over()) == 400  # the tasks and their sockets
            for task in tasks[::2]:
                task.cancel()
            replies = await asyncio.gather(*tasks, return_exceptions=True)
            assert sum(isinstance(reply, Response) for reply in replies) == 100

    with Misbehaving("slow", seconds=0.5) as server:
        run(ask_and_cancel())
