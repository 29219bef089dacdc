"""Records as the processes of a server make them, for the tests of this folder."""

from collections.abc import Sequence

import dns.flags
import dns.message
import dns.rcode

from svcdns.tap.memory import Tap
from svcdns.tap.record import Record, records_of
from svcdns.tap.recorder import BY_WORKER, Recorder
from svcdns.tap.ring import RingReader

Client = tuple[object, ...]
CLIENT: Client = ("192.0.2.7", 5353)


def question(name: str = "web.default.svc.cluster.local.", rrtype: str = "A", **more: object) -> bytes:
    return dns.message.make_query(name, rrtype, **more).to_wire()  # type: ignore[arg-type]


def reply_to(
    packet: bytes, rcode: str = "NOERROR", *, own: bool = True, answers: Sequence[str] = ()
) -> bytes:
    reply = dns.message.make_response(dns.message.from_wire(packet))
    reply.set_rcode(dns.rcode.from_text(rcode))
    if own:
        reply.flags |= dns.flags.AA
    asked = reply.question[0]
    if answers:
        reply.answer.append(dns.rrset.from_text_list(asked.name, 5, "IN", asked.rdtype, answers))
    return reply.to_wire()


class Recording:
    """A ring, a recorder of it, and what it has recorded."""

    def __init__(self, sample: int = 1, by: int = BY_WORKER) -> None:
        self.tap = Tap.create(1, 1 << 20)
        self.sample = sample
        self.recorder = Recorder(self.tap.ring(0), by, lambda: self.sample)
        self.reader = RingReader(self.tap.ring(0))
        self.reader.go_on()

    def records(self, whose: str = "own", *, upstreams: bool = False) -> list[Record]:
        found: list[Record] = []
        while True:
            blocks, _ = self.reader.read()
            if not blocks:
                return found
            found += [
                record
                for block in blocks
                for record in records_of(block, lambda key: whose, upstreams=upstreams)
            ]


def recorded(
    packet: bytes,
    reply: bytes,
    client: Client = CLIENT,
    *,
    by: int = BY_WORKER,
    whose: str = "own",
    took: int = 0,
) -> Record:
    """Return one question as it comes out of a ring."""
    world = Recording(by=by)
    world.recorder.record(0, took, [(packet, client)], [(reply, client)])
    [record] = world.records(whose)
    return record
