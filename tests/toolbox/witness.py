"""A client that hears every DNS worker: one connected UDP socket for each of them.

The workers share an address by SO_REUSEPORT and the kernel chooses among them by the client's port, so
a socket stays with the worker that it met first; CH TXT `id.server` (RFC 4892) says which one that is.
Kept small and without a DNS library where it matters: what is measured here is the server.
"""

import itertools
import socket
from dataclasses import dataclass
from typing import Self

from dns.name import from_text
from toolbox.waiting import GUARD_SECONDS

A, CNAME, PTR, TXT, AAAA = 1, 5, 12, 16, 28
IN, CH = 1, 3
NOERROR, SERVFAIL, NXDOMAIN = 0, 2, 3
MANY_SOCKETS = 500


@dataclass(frozen=True)
class Answer:
    """What a worker said: its rcode and the RDATA of the answer section."""

    rcode: int
    data: frozenset[bytes] = frozenset()


GONE = Answer(NXDOMAIN)


def there(*data: bytes) -> Answer:
    """Return the answer that holds this RDATA and nothing else."""
    return Answer(NOERROR, frozenset(data))


def address(text: str) -> bytes:
    """Return the RDATA of an A or AAAA record."""
    return socket.inet_pton(socket.AF_INET6 if ":" in text else socket.AF_INET, text)


def wire_name(text: str) -> bytes:
    """Return a name, with or without its last dot, as in RDATA without compression."""
    return from_text(text).to_wire()


def make_question(name: str, rrtype: int = A, rrclass: int = IN, number: int = 0) -> bytes:
    """Return a plain question; `number` is its message ID."""
    head = number.to_bytes(2) + b"\1\0\0\1\0\0\0\0\0\0"
    return head + wire_name(name) + rrtype.to_bytes(2) + rrclass.to_bytes(2)


def read_answer(question: bytes, reply: bytes) -> Answer:
    """Read a reply whose answers all have the question's owner name (AssertionError otherwise)."""
    assert reply[2] & 0x82 == 0x80, "not a whole answer"
    assert reply[12 : len(question)].lower() == question[12:].lower(), "an answer to something else"
    at, data = len(question), []
    for _ in range(int.from_bytes(reply[6:8])):
        assert reply[at : at + 2] == b"\xc0\x0c", "a record of another name"
        length = int.from_bytes(reply[at + 10 : at + 12])
        data.append(reply[at + 12 : at + 12 + length])
        at += 12 + length
    assert len(data) == len(set(data)), "a record twice"
    return Answer(reply[3] & 15, frozenset(data))


def connected(where: tuple[str, int]) -> socket.socket:
    """Return a new UDP socket, so a new source port, connected to the server."""
    made = socket.socket(socket.AF_INET6 if ":" in where[0] else socket.AF_INET, socket.SOCK_DGRAM)
    made.connect(where)
    made.settimeout(GUARD_SECONDS)
    return made


def identity(sock: socket.socket) -> str:
    """Return the id.server of the worker that answers this socket."""
    question = make_question("id.server", TXT, CH)
    sock.send(question)
    (text,) = read_answer(question, sock.recv(4096)).data
    return text[1:].decode()


class Witness:
    """Asks every worker the same question; not for use by two threads at once."""

    def __init__(self, where: tuple[str, int], workers: int) -> None:
        """Meet all `workers` of the server at `where`."""
        self.sockets: dict[str, socket.socket] = {}
        self._numbers = itertools.cycle(range(1, 1 << 16))
        for _ in range(MANY_SOCKETS):
            made = connected(where)
            if self.sockets.setdefault(identity(made), made) is not made:
                made.close()
            if len(self.sockets) == workers:
                return
        raise AssertionError(f"met {sorted(self.sockets)} only, of {workers} workers")

    def ask(self, name: str, rrtype: int = A) -> dict[str, Answer]:
        """Return what each worker answers, all asked before the first reply is read."""
        question = make_question(name, rrtype, number=next(self._numbers))
        for sock in self.sockets.values():
            sock.send(question)
        return {worker: self._reply(sock, question) for worker, sock in self.sockets.items()}

    def _reply(self, sock: socket.socket, question: bytes) -> Answer:
        while (reply := sock.recv(4096))[:2] != question[:2]:
            pass  # belated: an earlier question was given up
        return read_answer(question, reply)

    def close(self) -> None:
        """Close all sockets."""
        for sock in self.sockets.values():
            sock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
