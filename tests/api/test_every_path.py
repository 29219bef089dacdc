"""Every path and method of the running API, with values of the official schema and of none: no 500, ever.

Resources and subresources are those that discovery names, so a kind that is new is here without a word. Each
answer is whole: JSON of success, or a Status of its code; and the connection that it came over answers the
next request, unless it said `Connection: close`.

schemathesis is no dependency here: it holds jsonschema-rs back to an older version than the server runs with,
and what it makes of Kubernetes' schemas is nearly all refused at once.
"""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from toolbox.running_server import RunningServer
from toolbox.schema_values import anything, fragments_of, json_patches, objects_of, texts
from toolbox.waiting import GUARD_SECONDS

from svcdns.api.review_kinds import REVIEWS
from svcdns.objects import openapi
from svcdns.objects.kinds import KINDS, Kind

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
ODD_METHODS = ("OPTIONS", "TRACE", "PROPFIND", "PURGE")
PATCH_TYPES = (
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    "application/apply-patch+yaml",
    "application/json-patch+json",
)
CONTENT_TYPES = (
    *PATCH_TYPES,
    *("application/json", "application/json; charset=utf-7", "application/yaml", "application/cbor"),
    *(
        "application/vnd.kubernetes.protobuf",
        "multipart/form-data; boundary=x",
        "text/plain",
        "",
        ";;",
        "\xff",
    ),
)
PARAMETERS = (
    *("labelSelector", "fieldSelector", "limit", "continue", "resourceVersion", "resourceVersionMatch"),
    *(
        "dryRun",
        "fieldValidation",
        "fieldManager",
        "force",
        "pretty",
        "gracePeriodSeconds",
        "orphanDependents",
    ),
    *(
        "propagationPolicy",
        "sendInitialEvents",
        "allowWatchBookmarks",
        "includeObject",
        "namespace",
        "ndots",
        "name",
    ),
)
VALUES = (
    *("", "0", "-1", "1", "true", "All", "Exact", "NotOlderThan", "a=b", "a in (", "!", "metadata.name=x"),
    *(
        "1.5",
        "9" * 20,
        "Strict",
        "Background",
        "Foreground",
        "None",
        "Object",
        "x" * 200,
        "eyJ9",
        "%zz",
        "\0",
    ),
)
QUERIES = st.lists(st.tuples(st.sampled_from(PARAMETERS), st.sampled_from(VALUES) | texts), max_size=3)
NOISE = (
    *(
        "%2e%2e",
        "..",
        ".",
        "%00",
        "%ff",
        "%C3%BC",
        "%",
        "%zz",
        "%2F",
        "a%2Fb",
        "//",
        ";a=b",
        "a" * 300,
        "a" * 7000,
    ),
    *("%0d%0aX:%20y", "@", "status", "{name}", "~", "%25", "\u00fc", "*"),
)
"""Segments of a path as no client of good will writes them; without "watch", as its answer has no end."""
OCTETS = st.one_of(
    st.binary(max_size=200),
    st.binary(max_size=200).map(lambda octets: b"k8s\0" + octets),
    st.sampled_from(
        [b"", b"{", b"null", b"[" * 5000, b"{}{}", b"\xff", b'{"a":1e999}', b"a: &a [*a]", b"\0"]
    ),
)


DELETIONS = (
    *(b"", b"{}", b'{"propagationPolicy":"Foreground"}', b'{"gracePeriodSeconds":0}', b'{"dryRun":["All"]}'),
    *(b'{"gracePeriodSeconds":-1}', b'{"preconditions":{"uid":1}}', b'{"kind":"Pod"}', b"[]"),
)
ACCEPTS = (
    *("", "*/*", "text/html", "application/yaml", "application/vnd.kubernetes.protobuf", ";=,", "a" * 500),
    *(
        "application/json;as=Table;v=v1;g=meta.k8s.io",
        "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io",
    ),
    "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList",
)
Sent = tuple[str, bytes]
"""Content type and body."""


@dataclass(frozen=True)
class Resource:
    """A resource as discovery names it."""

    kind: Kind
    root: str
    """Path of its group and version."""
    subresources: tuple[str, ...]

    def paths(self) -> Sequence[str]:
        """Return the path of each collection, of an object and of its subresources."""
        spaces = ("/namespaces/fuzz", "/namespaces/nope", "") if self.kind.namespaced else ("",)
        collections = [f"{self.root}{space}/{self.kind.plural}" for space in spaces]
        objects = [f"{collections[0]}/{name}" for name in ("web", "a", "nowhere")]
        below = [
            f"{path}/{word}" for path in objects for word in (*self.subresources, "status", "log", "nope")
        ]
        return (*collections, *objects, *below)


class Connection:
    """One connection, opened again when an answer said that it ends there."""

    def __init__(self, server: RunningServer) -> None:
        host, _, port = server.api.removeprefix("http://").partition(":")
        self._address = (host, int(port))
        self._socket: socket.socket | None = None

    def send(self, method: str, target: bytes, headers: dict[str, str], body: bytes) -> tuple[int, bytes]:
        """Send a request as it is; return status and body.  Raises where there is no whole answer."""
        if self._socket is None:
            self._socket = socket.create_connection(self._address, GUARD_SECONDS)
        sent = {"Host": "localhost", "Content-Length": str(len(body)), **headers}
        lines = [f"{name}: {value}".encode("latin-1") for name, value in sent.items()]
        head = [method.encode() + b" " + target + b" HTTP/1.1", *lines, b"", b""]
        self._socket.sendall(b"\r\n".join(head) + body)
        answer = http.client.HTTPResponse(self._socket, method=method)
        stays = False
        try:
            answer.begin()
            octets = answer.read()
            stays = not answer.will_close
        finally:
            if not stays:
                self.close()
        return answer.status, octets

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None


@pytest.fixture(scope="module")
def server() -> Iterator[RunningServer]:
    with RunningServer(workers=1) as running:
        for name in ("fuzz", "web", "a"):
            assert running.post("/api/v1/namespaces", {"metadata": {"name": name}}).status == 201
        yield running
        assert running.get("/livez").status == 200
        assert "Traceback" not in running.log()


@pytest.fixture
def connection(server: RunningServer) -> Iterator[Connection]:
    made = Connection(server)
    yield made
    made.close()


def discovered(server: RunningServer) -> Iterator[Resource]:
    """Yield all resources."""
    kinds = {(kind.group, kind.version, kind.plural): kind for kind in (*KINDS, *REVIEWS)}
    accept = {"Accept": "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"}
    for root in ("/api", "/apis"):
        for group in server.request("GET", root, headers=accept).json["items"]:
            name = group["metadata"].get("name", "")
            for version in group["versions"]:
                at = f"{root}/{name}/{version['version']}" if name else f"{root}/{version['version']}"
                for found in version["resources"]:
                    kind = kinds.pop((name, version["version"], found["resource"]))
                    below = (part["subresource"] for part in found.get("subresources", ()))
                    yield Resource(kind, at, tuple(below))
    assert not kinds, "discovery does not name these"


def checked(method: str, status: int, octets: bytes) -> None:
    """Assert that an answer is no accident: JSON of success or a Status of its code."""
    assert status < 500 or status in (503, 504, 507), (status, octets[:2000])
    if method == "HEAD" or status == 304:
        assert not octets
        return
    answer = json.loads(octets) if octets.startswith(b"{") else None
    if status >= 400:
        assert answer is not None, (status, octets[:300])
        assert (answer["kind"], answer["status"], answer["code"]) == ("Status", "Failure", status), answer
        assert answer["message"] and answer["reason"], answer


def encoded(values: st.SearchStrategy[Any]) -> st.SearchStrategy[bytes]:
    return values.map(lambda value: json.dumps(value).encode())


def typed(content_types: Sequence[str], octets: st.SearchStrategy[bytes]) -> st.SearchStrategy[Sent]:
    return st.tuples(st.sampled_from(content_types), octets)


def bodies_of(kind: Kind) -> st.SearchStrategy[Callable[[str], Sent]]:
    """Return a strategy for what is sent by each method: what it takes, or what nobody would send."""
    known = openapi.component(kind) in openapi.schemas()
    objects = objects_of(kind) if known else anything
    fragments = fragments_of(kind) if known else anything
    patches = st.one_of(
        typed(PATCH_TYPES[:2], encoded(fragments)),
        typed(PATCH_TYPES[2:3], encoded(objects)),
        typed(PATCH_TYPES[3:], encoded(json_patches())),
    )
    right = st.fixed_dictionaries(
        {
            "PATCH": patches,
            "DELETE": typed(["application/json"], st.sampled_from(DELETIONS)),
            "other": typed(["application/json"], encoded(objects)),
        }
    ).map(lambda sent: lambda method: sent.get(method, sent["other"]))
    wild = typed(CONTENT_TYPES, OCTETS | encoded(objects | anything)).map(lambda sent: lambda method: sent)
    return st.integers(0, 3).flatmap(lambda dice: right if dice else wild)


def target_of(path: str, query: Sequence[tuple[str, str]]) -> bytes:
    """Return path and query as they are sent: white space and controls are percent-encoded."""
    pairs = "&".join(f"{name}={value}" for name, value in query)
    text = f"{path}?{pairs}" if pairs else path
    octets = text.encode(errors="replace")
    return b"".join(
        b"%c" % octet if octet > 0x20 and octet not in b"#\x7f" else b"%%%02x" % octet for octet in octets
    )


def send_to_each_path(resource: Resource, connection: Connection, examples: int) -> None:
    """Send a body to all paths of a resource by all methods, so many times."""

    @settings(max_examples=examples)
    @given(QUERIES, bodies_of(resource.kind))
    def one(query: list[tuple[str, str]], sent_by: Callable[[str], Sent]) -> None:
        for path in resource.paths():
            for method in METHODS:
                content_type, body = ("", b"") if method in ("GET", "HEAD") else sent_by(method)
                headers = {"Content-Type": content_type} if content_type else {}
                checked(method, *connection.send(method, target_of(path, query), headers, body))

    one()


def send_to_odd_paths(server: RunningServer, connection: Connection, examples: int) -> None:
    """Send all sorts of requests to paths that are nearly right."""
    paths = [path for resource in discovered(server) for path in resource.paths()]
    others = [
        *server.get("/").json["paths"],
        "/",
        "/cache",
        "/cache/web",
        "/svcdns/v1/explain",
        "/svcdns/v1/status",
        "/svcdns/v1/stats",
        "/svcdns/v1/queries",
        "/svcdns/v1/wait",
        "/svcdns/v1/proxies/a",
    ]

    @settings(max_examples=examples)
    @given(
        st.sampled_from(paths) | st.sampled_from(others),
        st.lists(st.tuples(st.integers(0, 7), st.sampled_from(NOISE)), max_size=2),
        QUERIES,
        st.sampled_from((*METHODS, *ODD_METHODS)),
        st.sampled_from(ACCEPTS),
        typed(CONTENT_TYPES, OCTETS),
    )
    def one(
        path: str,
        noise: list[tuple[int, str]],
        query: list[tuple[str, str]],
        method: str,
        accept: str,
        sent: Sent,
    ) -> None:
        segments = path.split("/")
        for place, word in noise:
            segments.insert(1 + place % len(segments), word)
        headers = {"Content-Type": sent[0], "Accept": accept}
        checked(method, *connection.send(method, target_of("/".join(segments), query), headers, sent[1]))

    one()


def test_each_path_and_method(server: RunningServer, connection: Connection) -> None:
    for resource in discovered(server):
        send_to_each_path(resource, connection, 12)


def test_odd_paths(server: RunningServer, connection: Connection) -> None:
    send_to_odd_paths(server, connection, 800)


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_each_path_and_method_often(server: RunningServer, connection: Connection) -> None:
    for resource in discovered(server):
        send_to_each_path(resource, connection, 200)
    send_to_odd_paths(server, connection, 20_000)
