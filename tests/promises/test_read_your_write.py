"""Promise 1, read your write: when the API answers 2xx, every DNS worker already answers with the new state.

Many clients register, flip and delete at once.  Right after each 2xx the client asks every worker, from
a socket that this worker alone answers, while other questions keep the workers busy.  Not one may be
stale.  READ_YOUR_WRITE_CHECKS says how many answers are checked.
"""

import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import pytest
from dns import message as dns_message
from dns import query as dns_query
from promises.query_load import query_load
from toolbox.calls import PODS, SERVICES, Calls, fqdn, reverse
from toolbox.running_server import RunningServer
from toolbox.witness import (
    GONE,
    PTR,
    A,
    Answer,
    Witness,
    address,
    make_question,
    read_answer,
    there,
    wire_name,
)

CLIENTS = 16
WORKERS = 2
CHECKS = int(os.environ.get("READ_YOUR_WRITE_CHECKS", "6000"))
SOAK_CHECKS = max(CHECKS, 200_000)
ASK_OVER_TCP_EACH = 25


@dataclass(frozen=True)
class Expected:
    """What must be answered after a write."""

    write: str
    name: str
    rrtype: int
    answer: Answer


@dataclass
class Findings:
    """What all clients saw."""

    goal: int
    checks: int = 0
    writes: int = 0
    stale: list[str] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def note(self, expected: Expected, answers: dict[str, Answer]) -> None:
        wrong = [
            f"{expected.write}: {expected.name} at {worker}: {answer}, not {expected.answer}"
            for worker, answer in answers.items()
            if answer != expected.answer
        ]
        with self._lock:
            self.checks += len(answers)
            self.stale += wrong

    def note_write(self) -> None:
        with self._lock:
            self.writes += 1

    @property
    def enough(self) -> bool:
        return self.checks >= self.goal or len(self.stale) > 20


def life_of_a_cluster_ip(calls: Calls, name: str) -> Iterator[list[Expected]]:
    ip = calls.create_service(name)["spec"]["clusterIP"]
    yield [
        Expected("create", fqdn(name), A, there(address(ip))),
        Expected("create", reverse(ip), PTR, there(wire_name(fqdn(name)))),
    ]
    calls.delete(SERVICES, name)
    yield [Expected("delete", fqdn(name), A, GONE), Expected("delete", reverse(ip), PTR, GONE)]


def life_of_a_headless_service(calls: Calls, name: str, ips: tuple[str, str]) -> Iterator[list[Expected]]:
    def expect(write: str, *present: str) -> list[Expected]:
        answer = there(*map(address, present)) if present else GONE
        return [Expected(write, fqdn(name), A, answer)]

    first, second = ips
    calls.create_service(name, clusterIP="None")
    yield expect("create headless")
    calls.create_pod(f"{name}-0", first, name)
    yield expect("first pod", first)
    calls.set_ready(f"{name}-0", ready=False)
    yield expect("not ready")
    calls.create_pod(f"{name}-1", second, name)
    yield expect("second pod", second)
    calls.set_ready(f"{name}-0", ready=True)
    yield expect("ready", first, second)
    calls.delete(PODS, f"{name}-1")
    yield expect("delete pod", first)
    calls.delete(PODS, f"{name}-0")
    yield expect("delete last pod")
    calls.delete(SERVICES, name)
    yield expect("delete headless")


def lives(calls: Calls, client: int) -> Iterator[list[Expected]]:
    """Yield after each write what must be answered now, without end."""
    for number in range(1 << 62):
        high, low = divmod(number % 0x7000, 128)
        ips = (f"172.{16 + client}.{high}.{2 * low}", f"172.{16 + client}.{high}.{2 * low + 1}")
        yield from life_of_a_cluster_ip(calls, f"vip-{client}-{number}")
        yield from life_of_a_headless_service(calls, f"set-{client}-{number}", ips)


def ask_over_tcp(server: RunningServer, expected: Expected) -> Answer:
    """Ask whichever worker takes the connection."""
    question = make_question(expected.name, expected.rrtype, number=7)
    host, port = server.dns
    reply = dns_query.tcp(dns_message.from_wire(question), host, port=port, timeout=60)
    return read_answer(question, reply.wire or b"")


def run_client(server: RunningServer, client: int, findings: Findings) -> None:
    calls = Calls(server.api)
    with Witness(server.dns, WORKERS) as witness:
        for number, expectations in enumerate(lives(calls, client)):
            findings.note_write()
            for expected in expectations:
                findings.note(expected, witness.ask(expected.name, expected.rrtype))
                if number % ASK_OVER_TCP_EACH == client:
                    findings.note(expected, {"TCP": ask_over_tcp(server, expected)})
            if findings.enough:
                break
    calls.close()


def check_every_write(server: RunningServer, goal: int) -> Findings:
    findings = Findings(goal)
    calls = Calls(server.api)
    calls.create_service("busy")
    with query_load(server.dns, [fqdn("busy"), fqdn("nobody")]):
        began = time.perf_counter()
        with ThreadPoolExecutor(CLIENTS) as threads:
            for done in [threads.submit(run_client, server, n, findings) for n in range(CLIENTS)]:
                done.result()
        seconds = time.perf_counter() - began
    calls.delete(SERVICES, "busy")
    print(
        f"{findings.writes} writes by {CLIENTS} clients, {findings.checks} answers of {WORKERS} workers "
        f"checked, {len(findings.stale)} stale: {findings.writes / seconds:.0f} writes a second"
    )
    return findings


def test_no_worker_is_stale_after_a_write_was_acknowledged(server: RunningServer) -> None:
    findings = check_every_write(server, CHECKS)
    assert not findings.stale, "\n".join(findings.stale)
    assert findings.checks >= CHECKS


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_no_worker_is_stale_in_a_long_run(server: RunningServer) -> None:
    findings = check_every_write(server, SOAK_CHECKS)
    assert not findings.stale, "\n".join(findings.stale)
