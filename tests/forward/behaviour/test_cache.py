"""What is remembered, for how long, and how it is forgotten."""

import os
import signal
import subprocess
import sys
import threading
from typing import Any

from dns.flags import Flag
from forward.behaviour.expecting import (
    data,
    errors,
    has,
    kill_forwarder,
    metric,
    said,
    to,
    wait_for_forwarder,
)
from toolbox.misbehaving import Misbehaving
from toolbox.running_server import RunningServer
from toolbox.upstreams import Unbound
from toolbox.waiting import GUARD_SECONDS, wait_for

from svcdns.server.counters import WRITER


def flush(server: RunningServer, *names: str) -> str:
    command = [sys.executable, "-m", "svcdns", "cache", "flush", *names, "--data", str(server.data)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    return done.stdout.strip()


def test_upstreams_are_asked_once_while_an_answer_lasts(forwarding: RunningServer, upstream: Unbound) -> None:
    name = "www.example.org."
    flush(forwarding)
    before = upstream.queries(name, "TXT")
    ttls = [forwarding.ask(name, "TXT").answer[0].ttl for _ in range(20)]
    assert upstream.queries(name, "TXT") == before + 1
    assert all(300 - GUARD_SECONDS <= ttl <= 300 for ttl in ttls)


def test_ttls_count_down_to_the_next_question(forwarding: RunningServer, upstream: Unbound) -> None:
    name = "short.example.org."
    before = upstream.queries(name)
    assert forwarding.ask(name).answer[0].ttl <= 1
    wait_for(lambda: forwarding.answers(name) and upstream.queries(name) == before + 2, "the TTL to run out")


def test_ttl_zero_is_not_kept(forwarding: RunningServer, upstream: Unbound) -> None:
    name = "zero.example.org."
    before = upstream.queries(name)
    for _ in range(3):
        assert forwarding.ask(name).answer[0].ttl == 0
    assert upstream.queries(name) == before + 3


def test_do_and_cd_have_answers_of_their_own(forwarding: RunningServer, upstream: Unbound) -> None:
    flush(forwarding)
    before = upstream.queries("www.example.org.", "A")
    for _ in range(2):
        forwarding.ask("www.example.org")
        forwarding.ask("www.example.org", want_dnssec=True)
        forwarding.ask("www.example.org", flags=Flag.RD | Flag.CD)
    assert upstream.queries("www.example.org.", "A") == before + 3


def test_flushing_a_name_takes_all_below_it_and_nothing_else(
    forwarding: RunningServer, upstream: Unbound
) -> None:
    flush(forwarding)
    for name in ("www.example.org", "mail.example.org", "example.org"):
        forwarding.ask(name, "MX")
    assert flush(forwarding, "www.example.org") == "flushed 1 answer"
    before = upstream.queries()
    forwarding.ask("mail.example.org", "MX")
    assert upstream.queries() == before
    forwarding.ask("www.example.org", "MX")
    assert upstream.queries() == before + 1
    assert flush(forwarding, "EXAMPLE.org.") == "flushed 3 answers"


def test_it_is_flushed_whichever_process_was_killed(forwarding: RunningServer, upstream: Unbound) -> None:
    counters = forwarding.counters()
    for row in (WRITER, counters.forwarder) * 2:
        forwarding.ask("www.example.org", "TXT")
        restarts = counters.get(row, "restarts")
        os.kill(counters.get(row, "pid"), signal.SIGKILL)
        wait_for(lambda: counters.get(row, "restarts") > restarts, "its death to be seen")  # noqa: B023
        wait_for(counters.ready, "it to be back")
        wait_for_forwarder(forwarding)
        assert flush(forwarding, "www.example.org").startswith("flushed ")
        before = upstream.queries("www.example.org.", "TXT")
        forwarding.ask("www.example.org", "TXT")
        assert upstream.queries("www.example.org.", "TXT") == before + 1


def test_no_worker_answers_from_what_was_flushed(forwarding: RunningServer, upstream: Unbound) -> None:
    """Each question has a port of its own, so that both workers are asked."""
    for _ in range(20):
        forwarding.ask("www.example.org", "TXT")
        before = upstream.queries("www.example.org.", "TXT")
        assert forwarding.delete("/cache/www.example.org").json["flushed"] >= 1
        for _ in range(8):
            forwarding.ask("www.example.org", "TXT")
        assert upstream.queries("www.example.org.", "TXT") == before + 1


def test_without_a_forwarder_it_says_so(forwarding: RunningServer) -> None:
    kill_forwarder(forwarding)
    refused = forwarding.delete("/cache")
    assert refused.status in (200, 503)
    if refused.status == 503:
        assert "the forwarder is not running" in refused.json["message"]
    wait_for_forwarder(forwarding)
    wait_for(lambda: forwarding.delete("/cache").status == 200, "the next flush")


def test_the_hit_rate_is_a_metric(upstream: Unbound) -> None:
    with to(upstream.address) as server:
        for _ in range(10):
            server.ask("www.example.org", "AAAA")
        wait_for(lambda: metric(server, "svcdns_dns_cache_hits_total") == 9, "nine hits")
        wait_for(lambda: metric(server, "svcdns_dns_cache_misses_total") == 1, "one miss")
        wait_for(lambda: metric(server, "svcdns_cache_entries") == 1, "one entry")
        assert metric(server, "svcdns_upstream_up") == 1
        zones = 'zone="forward"'
        counted = [line for line in server.get("/metrics").text.splitlines() if zones in line]
        assert sum(float(line.split()[-1]) for line in counted) == 10, counted


def test_the_cache_outlives_the_forwarder(forwarding: RunningServer, upstream: Unbound) -> None:
    forwarding.ask("www.example.org", "AAAA")
    before = upstream.queries("www.example.org.", "AAAA")
    kill_forwarder(forwarding)
    assert data(forwarding.ask("www.example.org", "AAAA")) == ["AAAA 2001:db8::10"]
    wait_for_forwarder(forwarding)
    assert data(forwarding.ask("www.example.org", "AAAA")) == ["AAAA 2001:db8::10"]
    assert upstream.queries("www.example.org.", "AAAA") == before


def test_many_who_ask_at_once_are_one_question_upstream() -> None:
    with Misbehaving("slow", seconds=0.5) as upstream, to(upstream.address) as server:
        replies: list[Any] = []
        threads = [
            threading.Thread(target=lambda: replies.append(server.ask("one.example.org"))) for _ in range(50)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert {said(reply) for reply in replies} == {"NOERROR"}
        assert sum(str(asked.question[0].name) == "one.example.org." for asked in upstream.asked) == 1


def test_a_failure_is_remembered_for_five_seconds() -> None:
    with Misbehaving("servfail") as upstream, to(upstream.address) as server:
        for _ in range(5):
            reply = server.ask("one.example.org", use_edns=0)
            assert (said(reply), errors(reply)) == ("SERVFAIL", [22])
        asked = [str(query.question[0].name) for query in upstream.asked]
        assert asked.count("one.example.org.") == 1
        upstream.behaviour = "answers"
        wait_for(lambda: said(server.ask("one.example.org")) == "NOERROR", "the failure to be forgotten")


def test_while_no_upstream_answers_old_answers_stand_in(upstream: Unbound) -> None:
    with Unbound(tls=False, https=False) as mortal, to(mortal.address) as server:
        assert server.answers("short.example.org")
        assert said(server.ask("nothing.example.org")) == "NXDOMAIN"
        mortal.stop()

        def stale() -> Any:
            reply = server.ask("short.example.org", use_edns=0)
            return reply if errors(reply) == [3] else None

        reply = wait_for(stale, "the stale answer")
        assert (said(reply), data(reply)) == ("NOERROR", ["A 192.0.2.11"])
        assert reply.answer[0].ttl == 30, "RFC 8767 section 4"
        assert has(reply, "RA")
        lost = server.ask("www.example.org", use_edns=0)
        assert (said(lost), errors(lost)) == ("SERVFAIL", [22])
        mortal.start()
        wait_for(lambda: not errors(server.ask("short.example.org", use_edns=0)), "a fresh answer")
        assert metric(server, "svcdns_dns_stale_answers_total") > 0
