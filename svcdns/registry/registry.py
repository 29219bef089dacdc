"""The registry: what those who register things call.  The one write path begins here.

Writes are queued to the committer and return when they are durable and visible to every DNS worker;
reads and watches see only what is committed.  All methods raise StatusError.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import lmdb

from svcdns.cluster.event_messages import EventMessage
from svcdns.cluster.pod_conditions import as_served, as_written
from svcdns.config.sections import Config
from svcdns.objects import conversion
from svcdns.objects.errors import StatusError
from svcdns.objects.kinds import (
    ENDPOINTS,
    EVENT,
    FIRST_NAMESPACES,
    LEASE,
    NAMESPACE,
    POD,
    SERVICE,
    STORED,
    Kind,
)
from svcdns.objects.managed_fields import SERVER, Authorship, given_entries
from svcdns.objects.patches import apply_patch
from svcdns.objects.schema import structure
from svcdns.objects.server_side_apply import check_configuration
from svcdns.store.environment import Store
from svcdns.store.log import Change
from svcdns.store.writable import why_not

from . import accept, address_views, answer_tables, deletion, endpoints, reading, removal
from .events import Recorder
from .identity import check_not_renamed
from .listing import Listing, Reads
from .replicated import Disagreement, Engine, Sharing, committer_of, heartbeats_of
from .requests import Batch, DeleteOptions, Page, Patch, Selection, WriteOptions, Written
from .server_side_apply import apply_configuration
from .settings import Settings, make_settings
from .transaction import Object, WriteTransaction, decode, is_large
from .unfinished_deletions import UnfinishedDeletions
from .watch import Feed, watch

if TYPE_CHECKING:
    from .explain import Explanation

T = TypeVar("T")
_ALREADY = 409

_MADE_BY_REPLACING = frozenset({SERVICE, ENDPOINTS, EVENT, LEASE})
"""Kinds of which a PUT makes an object that is not there, as in Kubernetes."""


class Registry:
    """The registry of one server; made, started and used in one event loop."""

    def __init__(
        self,
        store: Store,
        config: Config,
        observe_commit: Callable[[float], None] = lambda seconds: None,
        engine: Engine | None = None,
    ) -> None:
        """`store` was opened for writing; `observe_commit` is given each commit's duration in seconds.

        With an `engine` the registry is there, and the store is its map.
        """
        self.store = store
        self.settings: Settings = make_settings(config)
        self._observe_commit = observe_commit
        self._reads = Reads.of(store)
        self._feed: Feed | None = None
        self._views: dict[Kind, address_views.View] = {}
        self._committer = committer_of(store, self.settings, engine, self._committed, self.record)
        self.consistent_reads = self._committer.reads  # None: whoever reads sees all that was acknowledged
        self.work = self._committer.work  # what of it, in the background, is this server's
        by = self._committer.write, self.work.is_own
        self._recorder, self._unfinished = Recorder(*by), UnfinishedDeletions(store, *by)
        self.heartbeats = heartbeats_of(store, self._committer)

    async def start(self) -> None:
        """Bring the stored answers up to date, make the first namespaces, go on with unfinished deletions.

        Where nothing can be written, but there are answers, all of that is left for `try_to_write`, and
        writes are refused until then.
        Raises answer_tables.NewerLayout for data of a newer svcdns, lmdb.Error or StatusError where nothing
        can be written and there are no answers.
        """
        answer_tables.refuse_newer(self.store)
        self._feed = Feed(self.store)
        ranges = self.settings.config.services.cluster_ip_ranges
        self._views = address_views.views(self.store, ranges, self._feed.revision)
        self._committer.start()
        try:
            await self._prepare()
        except (lmdb.Error, StatusError) as refused:
            trouble = self.trouble or why_not(refused, Path(self.store.env.path()))
            if not trouble or not self.has_answers():
                await self.stop()  # or its thread would use the store after it has been closed
                raise
            self._committer.refuse(trouble)
        except BaseException:
            await self.stop()
            raise

    @property
    def trouble(self) -> str:
        """Why writes are refused with 507, in words; "" when they are not."""
        return self._committer.trouble

    @property
    def sharing(self) -> Sharing | None:
        """How it stands with etcd, None where the registry is in its store alone."""
        return self._committer.sharing

    def has_answers(self) -> bool:
        """Return whether there is something to answer from, should nothing be written any more."""
        return answer_tables.has_answers(self.store)

    def explain(self, name: str, namespace: str) -> Explanation:
        """Return what a name or a Pod answers, and why not more; reads, and takes a moment."""
        from .explain import explain  # with what only it needs

        return explain(self.store, self.settings, name, namespace)

    async def try_to_write(self) -> None:
        """To be called now and then while there is trouble: see whether it is over."""
        trouble, refuses = self.trouble, self._committer.refuses
        try:
            if refuses:
                await self._prepare()
            else:
                await self.transact(lambda txn: answer_tables.store_layout(txn, self.store))
        except Disagreement as differs:
            self._committer.refuse(str(differs))
        except (lmdb.Error, StatusError):
            if refuses:
                self._committer.refuse(self.trouble or trouble)

    async def _prepare(self) -> None:
        with self.store.write() as txn:
            answer_tables.store_layout(txn, self.store)
        await asyncio.to_thread(answer_tables.bring_up_to_date, self.store, self.settings)
        self._committer.allow()
        await self._committer.prepare()
        for name in FIRST_NAMESPACES:
            await self._create_first(name)
        self._unfinished.resume()
        self.heartbeats.resume()
        self._recorder.start()

    async def _create_first(self, namespace: str) -> None:
        with suppress(StatusError):
            self.get(NAMESPACE, "", namespace)
            return
        try:
            await self.create(NAMESPACE, "", {"metadata": {"name": namespace}}, WriteOptions())
        except StatusError as refused:
            if refused.code != _ALREADY:  # another replica was faster
                raise

    async def set_loaded(self) -> None:
        """Store that manifests and zone files are in: unknown names are NXDOMAIN from now on."""
        await asyncio.to_thread(answer_tables.set_loaded, self.store)
        self._recorder.set_loaded()

    async def stop(self) -> None:
        """Let the writes that wait finish, end everything that runs."""
        self._unfinished.stop()
        self.heartbeats.stop()
        await self._recorder.stop()
        await self._committer.stop()
        self._reads.close()

    async def create(self, kind: Kind, namespace: str, body: Object, options: WriteOptions) -> Written:
        """Create an object from its JSON shape."""
        author = Authorship(options.field_manager or SERVER)

        def action(write: WriteTransaction, new: Object) -> Written:
            return accept.create(write, kind.stored, namespace, conversion.stored(kind, new), author)

        return await self._write(kind, body, options, action)

    async def replace(
        self,
        kind: Kind,
        namespace: str,
        name: str,
        body: Object,
        options: WriteOptions,
        subresource: str = "",
    ) -> Written:
        """Replace an object, or its status (`subresource` "status")."""

        stored = kind.stored
        may_be_made = stored in _MADE_BY_REPLACING and not subresource

        def action(write: WriteTransaction, new: Object) -> Written:
            if may_be_made and write.load(stored, namespace, name) is None:
                author = Authorship(options.field_manager or SERVER)
                return accept.create(write, stored, namespace, conversion.stored(kind, new), author)
            old = write.existing(stored, namespace, name)
            author = _author(options, subresource, body, old)
            new = conversion.stored(kind, new, old)
            return deletion.update(write, stored, old, new, subresource, author)

        return await self._write(kind, body, options, action)

    async def patch(
        self,
        kind: Kind,
        namespace: str,
        name: str,
        patch: Patch,
        options: WriteOptions,
        subresource: str = "",
    ) -> Written:
        """Patch an object as it stands when the write's turn comes; an apply creates what is missing."""
        stored = kind.stored
        if patch.type == "apply":
            check_configuration(patch.document)
            at = (namespace, name)

            def apply(write: WriteTransaction, new: Object) -> Written:
                new = conversion.checked(kind, new, write.load(stored, *at))
                return apply_configuration(write, stored, at, new, options, subresource)

            return await self._write(kind, patch.document, options, apply)
        _check_writable(kind)

        def action(write: WriteTransaction) -> Written:
            view = None
            if kind is ENDPOINTS and write.load(kind, namespace, name) is None:
                view = endpoints.to_write_on(write, namespace, name)
            old = view or write.existing(stored, namespace, name)
            by_type = kind is POD and patch.type == "strategic"  # it merges conditions
            shown = as_written(old) if by_type else conversion.shown(kind, old)
            patched = apply_patch(kind, shown, patch.type, patch.document)
            body, warnings = structure(kind, patched, options.field_validation, fill_kind=True)
            if by_type:
                body = as_served(old, body)
            check_not_renamed(old, body)
            author = _author(options, subresource, patched, old)
            if view is not None:
                return accept.create_from(write, kind, view, body, author).noting(warnings)
            body = conversion.stored(kind, body, old)
            return deletion.update(write, stored, old, body, subresource, author).noting(warnings)

        return await self._run(kind, action, options)

    async def _write(
        self,
        kind: Kind,
        given: Object,
        options: WriteOptions,
        action: Callable[[WriteTransaction, Object], Written],
    ) -> Written:
        """Run a write of what is given, once it has passed the schema."""
        _check_writable(kind)
        check = partial(structure, kind, given, options.field_validation, fill_kind=True)
        body, warnings = await asyncio.to_thread(check) if is_large(given) else check()
        try:
            written = await self._run(kind, lambda w: action(w, body), options)
        except StatusError as refused:
            raise refused.noting(warnings) from None
        return written.noting(warnings)

    async def _run(
        self, kind: Kind, action: Callable[[WriteTransaction], Written], options: WriteOptions
    ) -> Written:
        """Run a write; a Pod that promises heartbeats is watched from then on, and a Lease may be one."""
        written = await self._committer.write(action, dry_run=options.dry_run)
        if kind is POD and not options.dry_run:
            self.heartbeats.follow(written.object)
        elif kind is LEASE and not options.dry_run:
            with suppress(StatusError):  # the Lease itself is written
                await self.heartbeats.renewed(written.object)
        return written.shown(kind)

    async def delete(self, kind: Kind, namespace: str, name: str, options: DeleteOptions) -> Written:
        """Delete an object; of a Namespace, once it is seen to terminate, also all that is in it."""
        _check_writable(kind)
        accept.check_deletable(kind, name)
        written = await self._committer.write(
            lambda w: removal.delete(w, kind.stored, namespace, name, options), dry_run=options.dry_run
        )
        if not options.dry_run:
            if kind is NAMESPACE:
                # What is in it goes before this is answered, unless it is much: then the rest goes soon.
                await self._committer.write(lambda w: removal.empty_some(w, name))
            self._unfinished.follow(kind, decode(written.object))
        return written.shown(kind)

    async def delete_collection(
        self, kind: Kind, namespace: str, selection: Selection, options: DeleteOptions
    ) -> Page:
        """Delete all selected objects, at most 500 a transaction; return those that were deleted."""
        _check_writable(kind)
        with self.listing(kind, namespace, selection) as listing:
            names = [removal.name_of(item) async for piece in listing.pieces() for item in piece.items]
        gone: list[bytes] = []
        while names:
            chunk = names[: removal.CHUNK]
            action = partial(removal.delete_each, kind=kind.stored, names=chunk, options=options)
            deleted, left = await self._committer.write(action, dry_run=options.dry_run)
            names = [*left, *names[removal.CHUNK :]]
            for item in deleted:
                gone.append(conversion.shown_octets(kind, item.object))
                if not options.dry_run:
                    self._unfinished.follow(kind, decode(item.object))
        return Page(gone, listing.revision)

    def get(self, kind: Kind, namespace: str, name: str) -> bytes:
        """Return an object as JSON."""
        if (view := self._views.get(kind)) is not None:
            return view.get(name)
        return conversion.shown_octets(kind, reading.get(self.store, kind, namespace, name))

    def page(
        self, kind: Kind, namespace: str, selection: Selection, limit: int = 0, continue_: str = ""
    ) -> Page:
        """Return a part of a list, read in one go; `namespace` "" is all."""
        with self.listing(kind, namespace, selection, limit, continue_) as listing:
            return listing.page()

    def listing(
        self, kind: Kind, namespace: str, selection: Selection, limit: int = 0, continue_: str = ""
    ) -> Listing:
        """Begin to read a list in pieces; see listing.Listing."""
        return Listing(self._reads, kind, namespace, selection, limit, continue_, self._views.get(kind))

    def watch(
        self,
        kind: Kind,
        namespace: str,
        selection: Selection,
        after: int | None,
        *,
        bookmarks: bool = False,
        initial_events: bool = False,
    ) -> AsyncIterator[Batch]:
        """Yield what changes in a collection; see watch.watch."""
        assert self._feed is not None, "the registry has not been started"
        of, view = (self._reads, self._feed, kind, namespace, selection, after), self._views.get(kind)
        return watch(*of, bookmarks=bookmarks, initial_events=initial_events, view=view)

    def last_change(self, kind: Kind) -> int:
        """Return the revision up to which a kind's events are all there are, of what was acknowledged."""
        assert self._feed is not None, "the registry has not been started"
        return self._feed.last(kind)

    def count(self, kind: Kind) -> int:
        """Return how many objects of a kind there are."""
        return reading.count(self.store, kind)

    def endpoint_counts(self) -> dict[str, int]:
        """Return how many endpoints there are, as `reading.endpoint_counts` says."""
        return reading.endpoint_counts(self.store)

    async def transact(self, action: Callable[[lmdb.Transaction], T]) -> T:
        """Run something in a transaction of this store alone (zone files); durable when this returns."""
        return await self._committer.transact(action)

    def _committed(self, seconds: float, logged: list[Change], reached: int | None) -> None:
        self._observe_commit(seconds)
        assert self._feed is not None
        if EVENT.name in self._feed.advance(logged, reached):
            self._recorder.check_history()
        if self.sharing is not None:
            self._unfinished.follow_all(logged)  # whoever began it may not be there to end it
            self.heartbeats.applied(logged)
            if reached is None:
                self.heartbeats.resume()

    def record(self, messages: Iterable[EventMessage]) -> None:
        """Record what happened as Events, soon; of the registry's own writes this is done already."""
        self._recorder.record(messages)


def _check_writable(kind: Kind) -> None:
    if kind.stored not in STORED:
        text = "the server does not allow this method on the requested resource"
        raise StatusError(405, "MethodNotAllowed", text, kind=kind.plural)


def _author(options: WriteOptions, subresource: str, body: Any, old: Object) -> Authorship:
    """Return whose a PUT or a patch is; `body` is the object as the client wants it, owners included."""
    given = None if subresource else given_entries(body, old["metadata"].get("managedFields", []))
    return Authorship(options.field_manager or SERVER, given)
