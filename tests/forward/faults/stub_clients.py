"""Clients that ask as stub resolvers do, and note what each question came to and how long it took.

    with Clients(server.dns, lambda number: Question(f"n{number}.example")) as clients:
        ...                      # the fault
        clients.until(1000)
    clients.results

Each question goes out from a port of its own, so that all workers have their share; a reply whose ID or
question is another one is no reply (dnspython raises BadResponse, which fails the test).
"""

import itertools
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Self

from dns import edns, flags, rcode
from dns import query as dns_query
from dns.exception import Timeout
from dns.message import Message, make_query
from forward.behaviour.expecting import SERVICES, WEB
from toolbox.running_server import RunningServer
from toolbox.waiting import wait_for

RESOLVER_SECONDS = 5.0
"""After this a stub resolver asks again (resolv.conf's timeout): nothing may take so long.  Upstreams have
3 s for an answer, and a failure is to come within 3.5 s; the rest is for a machine that is busy."""
TRIES = 2


@dataclass(frozen=True)
class Question:
    """What is asked, and how."""

    name: str
    rrtype: str = "A"
    tcp: bool = False


@dataclass(frozen=True)
class Result:
    """What came of a question; `seconds` is from its first try on."""

    question: Question
    reply: Message | None
    seconds: float
    tries: int

    @property
    def said(self) -> str:
        """The rcode, "" where there was no reply."""
        return rcode.to_text(self.reply.rcode()) if self.reply is not None else ""

    @property
    def data(self) -> list[str]:
        """The answer's RDATA as sorted texts."""
        answer = self.reply.answer if self.reply is not None else []
        return sorted(rdata.to_text() for rrset in answer for rdata in rrset)

    @property
    def errors(self) -> list[int]:
        """The codes of Extended DNS Errors."""
        options = self.reply.options if self.reply is not None else ()
        return [int(option.code) for option in options if isinstance(option, edns.EDEOption)]

    @property
    def failed_clearly(self) -> bool:
        """Whether it is a SERVFAIL without any record."""
        return self.said == "SERVFAIL" and not self.data

    @property
    def cut(self) -> bool:
        """Whether it says that there is more, over TCP, and has no record."""
        return self.reply is not None and bool(self.reply.flags & flags.TC) and not self.data

    def __str__(self) -> str:
        """For messages of tests."""
        how = "TCP" if self.question.tcp else "UDP"
        what = f"{self.said or 'no reply'} {' '.join(self.data)[:80]} EDE {self.errors}"
        asked = f"{self.question.name} {self.question.rrtype} over {how}"
        return f"{asked}: {what} after {self.seconds:.2f} s, {self.tries} tries"


def ask(where: tuple[str, int], question: Question) -> Result:
    """Ask as a stub resolver: again after RESOLVER_SECONDS, TRIES times in all."""
    begun = time.monotonic()
    reply = None
    tries = 0
    while reply is None and tries < TRIES:
        tries += 1
        query = make_query(question.name, question.rrtype, use_edns=0, payload=1232)
        send = dns_query.tcp if question.tcp else dns_query.udp
        try:
            reply = send(query, where[0], port=where[1], timeout=RESOLVER_SECONDS)
        except (Timeout, OSError, EOFError):
            continue
    return Result(question, reply, time.monotonic() - begun, tries)


def serve(server: RunningServer, outside: str = "first.load.example") -> None:
    """Register the own name, and return when every worker gives answers for names outside."""
    assert server.post(SERVICES, WEB).status == 201
    wait_for(
        lambda: all(
            reply.rcode() == rcode.NOERROR and reply.answer
            for reply in server.ask_every_worker(outside).values()
        ),
        "every worker's first answer from upstream",
    )


def ask_all(where: tuple[str, int], questions: Iterable[Question]) -> list[Result]:
    """Ask all of them at once."""
    listed = list(questions)
    with ThreadPoolExecutor(len(listed)) as threads:
        return list(threads.map(lambda question: ask(where, question), listed))


class Clients:
    """Several clients, each asking one question after the other while the body runs."""

    def __init__(
        self, where: tuple[str, int], questions: Callable[[int], Question], *, number: int = 6
    ) -> None:
        """`questions` is given a number that counts up over all clients."""
        self.results: list[Result] = []
        self.wrong: list[BaseException] = []
        self._where = where
        self._questions = questions
        self._numbers = itertools.count()
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(number)]

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                self.results.append(ask(self._where, self._questions(next(self._numbers))))
        except BaseException as wrong:
            self.wrong.append(wrong)

    def until(self, more: int, what: Callable[[Result], bool] = lambda result: True) -> None:
        """Return when `more` results of a kind have come from now on."""
        before = len(self.results)
        wait_for(lambda: self.wrong or sum(map(what, self.results[before:])) >= more, f"{more} more results")
        assert not self.wrong, self.wrong

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()
        if kind is None:
            assert not self.wrong, self.wrong
