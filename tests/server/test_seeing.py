"""What is asked, seen from outside a whole server: the query log, the API, the commands."""

import contextlib
import http.client
import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from toolbox.running_server import RunningServer, svcdns
from toolbox.stopping import stop
from toolbox.upstreams import Unbound
from toolbox.waiting import wait_for

NAME = "web.default.svc.cluster.local."
ON_DEMAND = "[tap]\nsample = 1\n"


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def names_of(path: Path) -> list[str]:
    return [line["qname"] for line in lines_of(path)]


def observer_of(server: RunningServer) -> int:
    assert server.process is not None
    children = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children").read_text()
    for pid in children.split():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # another one, which has ended
            if b"svcdns.server.observer" in Path(f"/proc/{pid}/cmdline").read_bytes():
                return int(pid)
    return 0


@pytest.fixture(scope="module")
def logging(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[RunningServer, Path]]:
    log = tmp_path_factory.mktemp("log") / "queries"
    config = f'[query_log]\npath = "{log}"\nexclude = ["name:excluded.example"]\n'
    with RunningServer(workers=2, config=config) as server:
        yield server, log


def test_each_question_has_a_line_over_udp_and_tcp(logging: tuple[RunningServer, Path]) -> None:
    server, log = logging
    server.ask(NAME)
    server.ask(NAME, "AAAA", tcp=True)
    server.ask("excluded.example.")
    server.ask("\\027[31m\\226\\128\\174web.example.")
    wait_for(lambda: len(lines_of(log)) >= 3, "three lines")
    assert r"\027[31m\226\128\174web.example." in names_of(log)
    by_type = {(line["proto"], line["qtype"]): line for line in lines_of(log)}
    assert by_type["udp", "A"]["client_ip"] == "127.0.0.1"
    assert (by_type["tcp", "AAAA"]["rcode"], by_type["tcp", "AAAA"]["source"]) == ("NXDOMAIN", "own")
    text = log.read_text()
    assert "excluded" not in text
    assert text.replace("\n", "").isascii()
    assert text.replace("\n", "").isprintable()


def test_a_log_that_was_moved_and_an_observer_that_dies_cost_nothing(
    logging: tuple[RunningServer, Path],
) -> None:
    server, log = logging
    log.rename(log.with_suffix(".1"))
    server.ask("moved.example.")
    wait_for(lambda: "moved.example." in names_of(log), "the line in the new file")
    before = observer_of(server)
    stop(before)  # whatever it does now, it has not read this
    server.ask("meanwhile.example.")
    os.kill(before, signal.SIGKILL)
    wait_for(lambda: names_of(log).count("meanwhile.example.") == 1, "the next observer to read it")
    assert observer_of(server) != before
    assert server.process is not None
    server.process.send_signal(signal.SIGHUP)
    server.ask("later.example.")
    wait_for(lambda: "later.example." in names_of(log), "the line behind a SIGHUP")
    wait_for(lambda: "the configuration has not changed" in server.log(), "the end of what SIGHUP began")


def _written(server: RunningServer) -> float:
    lines = server.get("/metrics").text.splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith("svcdns_query_log_lines_total"))


def test_an_upgrade_loses_no_line_and_counts_on(logging: tuple[RunningServer, Path]) -> None:
    server, log = logging
    server.ask("before.example.")
    wait_for(lambda: "before.example." in names_of(log), "the line before")
    before, written = observer_of(server), _written(server)
    assert server.process is not None
    server.process.send_signal(signal.SIGUSR2)
    wait_for(lambda: "svcdns upgraded" in server.log(), "the upgrade")
    server.ask("after.example.")
    wait_for(lambda: "after.example." in names_of(log), "the line after")
    assert observer_of(server) != before
    assert names_of(log).count("before.example.") == 1
    assert _written(server) > written


def test_metrics_count_lines_and_what_was_lost(logging: tuple[RunningServer, Path]) -> None:
    server, _ = logging
    text = server.get("/metrics").text
    assert "svcdns_query_log_lines_total" in text
    assert "svcdns_tap_lost_records_total 0.0" in text
    assert "svcdns_dnstap_lost_frames_total 0.0" in text


def test_the_last_questions_before_the_end_are_in_the_log(tmp_path: Path) -> None:
    log = tmp_path / "queries"
    with RunningServer(workers=1, config=f'[query_log]\npath = "{log}"\nformat = "text"\n') as server:
        for number in range(50):
            server.ask(f"n{number}.example.")
        server.stop()
    assert sum(".example." in line for line in log.read_text().splitlines()) == 50


@pytest.fixture(scope="module")
def seen() -> Iterator[RunningServer]:
    with RunningServer(workers=2, config=ON_DEMAND) as server:
        yield server


def test_nothing_is_recorded_until_somebody_looks(seen: RunningServer) -> None:
    seen.ask("unseen.example.")
    assert observer_of(seen) == 0
    first = seen.get("/svcdns/v1/queries").json
    assert (first["began"], first["queries"]) == (True, [])

    def shown() -> bool:
        seen.ask("seen.example.")
        return bool(seen.get("/svcdns/v1/queries?name=seen.example&rcode=refused").json["queries"])

    wait_for(shown, "a question to be shown")
    everything = seen.get("/svcdns/v1/queries?last=10000").text
    assert "unseen" not in everything
    assert seen.get("/svcdns/v1/queries?name=other.example").json["queries"] == []


@pytest.mark.parametrize(
    "query",
    ["last=0", "last=x", "last=10001", "rcode=foo", "rcode=own", "client=x", "slow=5", "follow=maybe"],
)
def test_a_mistake_in_what_is_asked_for_is_named(seen: RunningServer, query: str) -> None:
    reply = seen.get(f"/svcdns/v1/queries?{query}")
    assert reply.status == 400
    assert query.partition("=")[0] in reply.json["message"]


def _follow(server: RunningServer) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
    connection = http.client.HTTPConnection(server.api.removeprefix("http://"), timeout=30)
    connection.request("GET", "/svcdns/v1/queries?follow=1&type=TXT")
    return connection, connection.getresponse()


def test_questions_are_followed_as_they_come_and_streams_are_bounded(seen: RunningServer) -> None:
    connection, answer = _follow(seen)
    try:
        for _ in range(30):
            seen.ask("followed.example.", "TXT")
        line = json.loads(answer.readline())
        assert (line["qname"], line["qtype"]) == ("followed.example.", "TXT")
        others = [_follow(seen) for _ in range(16)]
        try:
            assert [one.status for _, one in others] == [200] * 15 + [429]
        finally:
            for other, _ in others:
                other.close()
    finally:
        connection.close()


def test_statistics_and_the_commands_that_show_them(seen: RunningServer) -> None:
    def counted() -> bool:
        seen.ask("counted.example.")
        page = seen.get("/svcdns/v1/stats").json
        names = [one["name"] for one in page["last"]["1m"]["names"]]
        return "counted.example." in names and page["perSecond"]["10s"]["questions"] > 0

    wait_for(counted, "the name to be counted")
    shown = svcdns("top", "--once", "--api", seen.api)
    assert shown.returncode == 0, shown.stderr
    assert "counted.example." in shown.stdout
    assert "questions a second" in shown.stdout
    page = json.loads(svcdns("top", "--once", "-o", "json", "--api", seen.api).stdout)
    assert page["last"]["1m"]["rcodes"]["REFUSED"] >= 1
    queries = svcdns("queries", "--name", "counted.example", "--api", seen.api)
    assert "counted.example. REFUSED none 0 answers" in queries.stdout
    assert svcdns("queries", "--rcode", "nothing", "--api", seen.api).returncode == 2


def test_the_client_s_pod_is_named_in_the_log_and_to_who_looks(seen: RunningServer) -> None:
    body = {"metadata": {"name": "asker"}, "status": {"podIP": "127.0.0.1", "podIPs": [{"ip": "127.0.0.1"}]}}
    assert seen.post("/api/v1/namespaces/default/pods", body).status == 201

    def named() -> bool:
        seen.ask("by-a-pod.example.")
        found = seen.get("/svcdns/v1/queries?name=by-a-pod.example").json["queries"]
        return any((one.get("namespace"), one.get("pod")) == ("default", "asker") for one in found)

    wait_for(named, "the Pod of the client")
    assert "pod=default/asker" in svcdns("queries", "--name", "by-a-pod.example", "--api", seen.api).stdout
    assert seen.delete("/api/v1/namespaces/default/pods/asker").status in (200, 202)


def test_what_upstreams_are_asked_goes_to_dnstap(tmp_path: Path, need: Callable[..., str]) -> None:
    program, file = need("dnstap-ldns"), tmp_path / "tap"
    need("unbound")
    with Unbound(tls=False, https=False) as upstream:
        config = f'[forward]\nupstreams = ["{upstream.address}"]\n[dnstap]\nto = "file:{file}"\n'
        with RunningServer(workers=1, config=config) as server:
            assert server.answers("www.example.org") == ["192.0.2.10"]
    ran = subprocess.run([program, "-r", file, "-q"], capture_output=True, text=True, check=True)
    lines = [line.split(maxsplit=2)[2] for line in ran.stdout.splitlines() if "www.example.org" in line]
    assert [line[:2] for line in lines if line.startswith(("C", "F"))].count("FQ") == 1
    assert {line[:2] for line in lines} == {"CQ", "CR", "FQ", "FR"}
