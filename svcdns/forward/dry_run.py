"""What a client would be answered, and from what: the paths of worker and forwarder, and nobody is asked.

    question -> Answerer, as a worker has it -> HAND_OVER -> Forwarder, as the forwarder's process has it
             -> a reply, from zones and cache; or the query that upstreams would be asked

* Both are the code that answers clients, so a reply is the one that they get.  Only what lies behind the
  cache is left out: upstreams, single flight, loops.
* Nothing is counted, logged or kept.  What is said about the way of an answer is looked up beside it, in the
  same snapshot.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field

from svcdns.cache import entry
from svcdns.cache.entry import CacheEntry
from svcdns.cache.store import now
from svcdns.config.sections import Config
from svcdns.dns import file_zone
from svcdns.dns.access import FORWARD, Access, Rights
from svcdns.dns.answer import Answerer
from svcdns.dns.fast_path import no_cache
from svcdns.dns.forward_link import ForwardRequest
from svcdns.dns.lookup import answer_name
from svcdns.dns.lookup_result import LookupResult
from svcdns.dns.no_reply import HAND_OVER
from svcdns.dns.stats import UDP, Stats
from svcdns.dns.view import View, elsewhere
from svcdns.store.snapshot import Begin, MaybeSnapshot, Snapshot, Zone
from svcdns.wire.key import key_of_wire, text_of_key
from svcdns.wire.query import Query
from svcdns.wire.question import Question, bare, parse

from .bailiwick import Bailiwick
from .clients import Clients, ForwardedQuestion
from .intake import Forwarder, Loops
from .partial_loops import PartialLoopDetector
from .pool import Pool
from .routes import Routes
from .single_flight import Resolution, Respond, asked_at, key_of_query
from .special_use_names import special_use_zone

ReadCache = Callable[[bytes], bytes | None]
"""Returns what the cache of forwarded answers holds for a key (svcdns.cache.entry)."""


@dataclass(slots=True)
class Outcome:
    """A reply, and where it comes from."""

    reply: bytes | None = None
    """None: it is upstreams' to say."""
    asked: Query | None = None
    """What upstreams would be asked."""
    asked_zone: str = ""
    """The zone whose upstreams these are: "." or the name of a [[forward.zone]]."""
    rights: int = 0
    """What the client may ask for (svcdns.dns.access)."""
    zone: Zone | None = None
    """The zone of ours that has a say; of its kind "aliases" where an alias has the name."""
    owner: bytes = b""
    """Of a zone file's answer: the key of the name in the file, a wildcard where one stands for the name."""
    leaves_it_to_others: bool = False
    """Whether the zone falls through, or delegates the name."""
    special_use: str = ""
    """The special-use zone that has the name; it is never asked for upstream."""
    cached: list[CacheEntry] = field(default_factory=list)
    """What was taken from the cache, in its order."""


class DryRun:
    """Says what clients would be answered; used by one thread at a time."""

    def __init__(self, begin: Begin, config: Config) -> None:
        """`begin` begins a snapshot of the registry's store."""
        self._begin = begin
        self._config = config
        self._rights = Rights(Access.of(config))
        self._routes = Routes(config.forward, ())
        self._snapshot: Snapshot | None = None
        self._cache: ReadCache = no_cache
        self._answerer = Answerer(
            Stats(),
            udp_size=config.dns.udp_size,
            cache=lambda key: self._cache(key),
            forwards=config.forward.forwards,
            elsewhere=elsewhere(config.forward),
            explains=config.dns.explain_empty,
        )
        self._bailiwick = Bailiwick(self._same_snapshot, elsewhere(config.forward))

    def ask(self, packet: bytes, client: str, cache: ReadCache = no_cache) -> Outcome:
        """Return what a client (its address) would be answered over UDP to a well-formed question."""
        with self._begin() as snapshot:
            self._snapshot, self._cache = snapshot, cache
            self._answerer.refusals.waiting.clear()
            outcome = Outcome(rights=self._rights[client])
            said = self._answerer.answer(packet, snapshot, UDP, outcome.rights)
            if (view := self._answerer.look_at(snapshot)) is not None:
                self._find_origin(outcome, view, parse(packet))
            if said is HAND_OVER:
                self._hand_over(outcome, packet, client)
            elif isinstance(said, bytes):
                outcome.reply = said
            return outcome

    def _same_snapshot(self) -> MaybeSnapshot:
        return nullcontext(self._snapshot)

    def _find_origin(self, outcome: Outcome, view: View, question: Question) -> None:
        """Note which zone has a say, and what of a worker's answer comes from the cache."""
        forwards = bool(outcome.rights & FORWARD)
        draft = answer_name(view, question.name, question.key, question.rrtype, forwards)
        outcome.zone = draft.zone
        if draft.zone is not None and draft.zone.kind == "file":
            outcome.owner = _owner(
                file_zone.look_up(view, draft.zone, question.key, question.rrtype), question
            )
        if draft.outside is None:
            return
        outcome.leaves_it_to_others = draft.zone is not None and not draft.chain
        special = special_use_zone(view.table, draft.outside.key, question.rrtype)
        outcome.special_use = "" if special is None else text_of_key(special)
        if not draft.chain:
            stored = self._cache(entry.key(question.key, question.rrtype, question.do, False))
            if stored is not None and entry.is_fresh(stored, now()):
                outcome.cached.append(entry.decode(stored))

    def _hand_over(self, outcome: Outcome, packet: bytes, client: str) -> None:
        """Have the forwarder's code take the question."""
        outcome.cached.clear()  # the forwarder looks itself
        clients = _Client(outcome, self._rights, self._config.dns.udp_size)
        lookups = _CacheAlone(outcome, self._routes.pool, self._cache, self._bailiwick)
        loops = Loops(lambda key: False, PartialLoopDetector(lambda key: (), lambda *_: False))
        forwarder = Forwarder((), clients, self._bailiwick, lookups, loops)
        with self._bailiwick.view() as view:
            forwarder.take(clients.read(ForwardRequest(bare(packet), 0.0, (client, 0)), None), view)


class _Client(Clients):
    """Takes the reply."""

    def __init__(self, outcome: Outcome, rights: Rights, udp_size: int) -> None:
        super().__init__((), Stats(), rights, udp_size)
        self._outcome = outcome

    def send(self, question: ForwardedQuestion, reply: bytes) -> None:
        self._outcome.reply = reply


class _CacheAlone:
    """Looks queries up in the cache; those that it does not know are upstreams' to answer."""

    def __init__(
        self,
        outcome: Outcome,
        pool_of: Callable[[bytes], Pool | None],
        cache: ReadCache,
        bailiwick: Bailiwick,
    ) -> None:
        self._outcome = outcome
        self._pool_of = pool_of
        self._cache = cache
        self._bailiwick = bailiwick

    def has_pool(self, key: bytes, rrtype: int) -> bool:
        return self._pool_of(asked_at(key, rrtype)) is not None

    def look_up(self, question: ForwardedQuestion, respond: Respond) -> None:
        query = question.query
        stored = self._cache(key_of_query(query))
        if stored is not None and entry.is_fresh(stored, now()):
            found = entry.decode(stored)
            self._outcome.cached.append(found)
            respond(question, Resolution(found, self._bailiwick.departure(query, found)))
            return
        pool = self._pool_of(asked_at(query.key, query.rrtype))
        self._outcome.asked = query
        self._outcome.asked_zone = "" if pool is None else pool.zone


def _owner(found: LookupResult, question: Question) -> bytes:
    """Return the key of the name in a zone file that answers for the question's."""
    if found.owner_octets:
        return key_of_wire(question.name[-found.owner_octets :])
    return found.wildcard or question.key
