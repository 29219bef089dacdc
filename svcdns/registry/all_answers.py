"""All facts and answers, made at once: of a map that is listed from nothing, or by other settings.

What comes of it is what `facts` and `dns_rows` come to change by change.  They look for each row at what
stood there; here nothing stands, objects are gone through once, and rows are put sorted.

    claims          which Service has which alias: before the facts, which look at that
    service_facts   of what the slices of each Service hold, which stand already
    pod_facts
    reverse, pods, services, namespaces     the rows; Services' with those of their endpoints and aliases

Each step takes some keys behind one and returns the last one, b"" at the end; `flush` comes behind each.  So
whoever likes commits in between.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import groupby, islice

import lmdb

from svcdns.names.row_parts import ROOT
from svcdns.names.service_rows import EndpointRow, endpoint_name_row
from svcdns.objects.kinds import NAMESPACE, POD, SERVICE, Kind
from svcdns.store.sorted_rows import SortedRows
from svcdns.wire.key import key_of

from . import alias_claims, aliases, dns_rows, facts
from .dns_rows import AnswerTable
from .endpoint_parts import EndpointParts
from .ready_endpoints import HASH_DIGITS, decode_endpoint
from .transaction import Object, WriteTransaction, collection_prefix, decode, joined, scan, scan_keys

CHUNK = 500
"""Objects, or addresses, that a step takes."""


@dataclass(slots=True)
class FreshTable(AnswerTable):
    """A table of answers that was empty: rows are put as they come, and are there after `rows.flush`."""

    rows: SortedRows = field(init=False)

    def __post_init__(self) -> None:
        self.rows = SortedRows(self.write.txn, self.table)

    def put(self, key: bytes, row: bytes | None) -> None:
        """Have a row put; None: there is none."""
        if row is not None and dns_rows.can_be_asked(key):
            self.rows.put(key, row)


class AllAnswers:
    """The steps, in one transaction; facts and the table of answers were empty before the first one."""

    def __init__(self, write: WriteTransaction, table: lmdb._Database) -> None:
        """`write` changes no facts by itself (`with_facts`)."""
        self.at: tuple[Kind, str, str] | None = None
        """Kind, namespace and name of what is being looked at: if that fails, it is at fault."""
        self._write = write
        self._visible: dict[str, bool] = {}
        """Namespaces that were looked at: none changes meanwhile."""
        self._answers = FreshTable(write, table)
        self._endpoints = SortedRows(write.txn, write.tables.endpoints)
        self._addresses = SortedRows(write.txn, write.tables.addresses)
        self._pod_ips = SortedRows(write.txn, write.tables.pod_ips)

    def flush(self) -> None:
        """Put the rows that wait."""
        for rows in (self._endpoints, self._addresses, self._pod_ips, self._answers.rows):
            rows.flush()

    def each(self, kind: Kind, after: bytes, work: Callable[[Object], None]) -> bytes:
        """Do something with the next objects of a kind, as a step."""
        rows = scan(self._write.txn, self._write.tables.objects, collection_prefix(kind), after)
        chunk = list(islice(rows, CHUNK))
        for key, octets in chunk:
            _, namespace, name = key.decode().split("\0")
            self.at = kind, namespace, name
            work(decode(octets))
        return chunk[-1][0] if len(chunk) == CHUNK else b""

    def claims(self, after: bytes) -> bytes:
        """Note which aliases the next Services ask for."""
        return self.each(SERVICE, after, self._claim)

    def service_facts(self, after: bytes) -> bytes:
        """Make the facts of the next Services."""
        return self.each(SERVICE, after, self._service_facts)

    def pod_facts(self, after: bytes) -> bytes:
        """Make the facts of the next Pods."""
        return self.each(POD, after, self.pod)

    def pod(self, pod: Object) -> None:
        """Make the facts of one Pod."""
        if self._is_visible(pod["metadata"]["namespace"]):
            rows = facts.pod_rows(pod)
            self._pod_ips.update(rows)
            self._addresses.update({facts.registered_key(key): b"" for key in rows})

    def reverse(self, after: bytes) -> bytes:
        """Make the rows of the next addresses."""
        rows = scan(self._write.txn, self._write.tables.addresses, b"", after)
        by_address = groupby(rows, lambda row: facts.split_address(row[0])[0])
        made = 0
        for made, (address, found) in enumerate(by_address, start=1):
            dns_rows.put_reverse(self._answers, address, found)
            if made == CHUNK:
                return address + b"\xff"  # behind all who have it
        return b""

    def pods(self, after: bytes) -> bytes:
        """Make the rows of the next addresses of Pods."""
        keys = list(islice(scan_keys(self._write.txn, self._write.tables.pod_ips, b"", after), CHUNK))
        for key in keys:
            namespace, address, _ = facts.split_pod_key(key)
            dns_rows.put_pod(self._answers, namespace.decode(), address, lives=True)
        return keys[-1] if len(keys) == CHUNK else b""

    def services(self, after: bytes) -> bytes:
        """Make the rows of the next Services, of their endpoints and their aliases."""
        return self.each(SERVICE, after, self._service_rows)

    def namespaces(self, after: bytes) -> bytes:
        """Make the rows of the next namespaces."""
        return self.each(NAMESPACE, after, self._namespace_rows)

    def _is_visible(self, namespace: str) -> bool:
        if (known := self._visible.get(namespace)) is None:
            known = self._visible[namespace] = facts.is_visible(self._write, namespace)
        return known

    def _claim(self, service: Object) -> None:
        aliases.service_changed(self._write, None, service)
        self._write.messages.clear()

    def _service_facts(self, service: Object) -> None:
        namespace, name = service["metadata"]["namespace"], service["metadata"]["name"]
        if not self._is_visible(namespace):
            return
        self._addresses.update(facts.vip_rows(self._write, service))
        if service["spec"].get("type") != "ExternalName":
            names = facts.slice_names(self._write, namespace, name)
            rows = facts.rows_of(self._write, service, names)
            self._endpoints.update(rows.endpoints)
            self._addresses.update(rows.addresses)
        self._write.messages.clear()

    def _service_rows(self, service: Object) -> None:
        write, answers = self._write, self._answers
        namespace, name = service["metadata"]["namespace"], service["metadata"]["name"]
        for alias in alias_claims.asked(write, service).names:
            dns_rows.put_alias(answers, key_of(alias))
        if not self._is_visible(namespace):
            return
        names = write.settings.names
        first: list[EndpointRow] = []
        for label, endpoints in self._by_label(namespace, name):
            answers.put(names.endpoint(namespace, name, label), endpoint_name_row(endpoints))
            if len(first) <= ROOT.capacity:
                first += endpoints
        parts = EndpointParts(write, answers.table, (namespace, name), names.service(namespace, name))
        for key, row in dns_rows.rows_of(parts, service, lambda: first).items():
            answers.put(key, row)

    def _by_label(self, namespace: str, name: str) -> Iterator[tuple[str, list[EndpointRow]]]:
        """Yield the labels of a Service's ready endpoints, each with its rows."""
        prefix = joined(namespace, name)
        begin = len(prefix) + HASH_DIGITS
        rows = scan(self._write.txn, self._write.tables.endpoints, prefix)
        for label, found in groupby(rows, lambda row: row[0][begin : row[0].index(b"\0", begin)]):
            yield label.decode(), [decode_endpoint(value) for _, value in found]

    def _namespace_rows(self, namespace: Object) -> None:
        dns_rows.put_namespace(self._answers, namespace["metadata"]["name"])


STEPS = (
    AllAnswers.claims,
    AllAnswers.service_facts,
    AllAnswers.pod_facts,
    AllAnswers.reverse,
    AllAnswers.pods,
    AllAnswers.services,
    AllAnswers.namespaces,
)
"""In their order."""
