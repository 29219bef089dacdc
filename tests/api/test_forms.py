"""Answers in other forms: metadata alone, YAML, compressed."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from http.client import HTTPConnection
from typing import Any

import pytest
import yaml
from toolbox.builders import service
from toolbox.running_server import RunningServer
from toolbox.waiting import GUARD_SECONDS

from svcdns.api.encodings import yaml_octets
from svcdns.api.negotiation import accepts_gzip, metadata_version, wants_yaml

SERVICES = "/api/v1/namespaces/default/services"
ONE = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
MANY = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
CLIENT_GO = (
    f"application/vnd.kubernetes.protobuf;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,{ONE},application/json"
)


@pytest.fixture(scope="module")
def server() -> Iterator[RunningServer]:
    with RunningServer(workers=1) as running:
        for name in ("db", "web"):
            assert running.post(SERVICES, service(name)).status == 201
        yield running
        assert "Traceback" not in running.log()


def got(server: RunningServer, path: str, **headers: str) -> tuple[bytes, dict[str, str]]:
    host, port = server.api.removeprefix("http://").split(":")
    connection = HTTPConnection(host, int(port), timeout=GUARD_SECONDS)
    connection.request(
        "GET", path, headers={name.replace("_", "-"): value for name, value in headers.items()}
    )
    answer = connection.getresponse()
    assert answer.status == 200
    octets = answer.read()
    connection.close()
    return octets, {name.lower(): value for name, value in answer.getheaders()}


@pytest.mark.parametrize("accept", [ONE, CLIENT_GO])
def test_metadata_of_an_object(server: RunningServer, accept: str) -> None:
    found = json.loads(got(server, SERVICES + "/web", Accept=accept)[0])
    full = server.get(SERVICES + "/web").json
    assert found == {
        "kind": "PartialObjectMetadata",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": full["metadata"],
    }


def test_metadata_of_a_list(server: RunningServer) -> None:
    found = json.loads(got(server, SERVICES + "?limit=1", Accept=MANY + ",application/json")[0])
    assert (found["kind"], found["apiVersion"]) == ("PartialObjectMetadataList", "meta.k8s.io/v1")
    assert found["metadata"]["continue"] and found["metadata"]["remainingItemCount"] == 1
    [item] = found["items"]
    assert (item["kind"], item["metadata"]["name"]) == ("PartialObjectMetadata", "db")


def test_metadata_in_a_watch(server: RunningServer) -> None:
    query = "?watch=1&timeoutSeconds=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan"
    lines = got(server, SERVICES + query + "&allowWatchBookmarks=true", Accept=CLIENT_GO)[0].splitlines()
    events = [json.loads(line) for line in lines]
    assert [event["type"] for event in events] == ["ADDED", "ADDED", "BOOKMARK"]
    assert {event["object"]["kind"] for event in events} == {"PartialObjectMetadata"}
    assert all("spec" not in event["object"] for event in events)
    assert events[-1]["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}


def test_yaml(server: RunningServer) -> None:
    octets, headers = got(server, SERVICES + "/web", Accept="application/yaml")
    assert headers["content-type"] == "application/yaml"
    assert octets.startswith(b"apiVersion: v1\n")
    assert yaml.safe_load(octets) == server.get(SERVICES + "/web").json
    listed, _ = got(server, SERVICES, Accept="application/yaml, application/json")
    assert yaml.safe_load(listed)["kind"] == "ServiceList"


@pytest.mark.parametrize(
    "text",
    [
        "1e3",
        "0777",
        "10:30",
        "0o7",
        "on",
        "No",
        "y",
        "null",
        "~",
        "1_000",
        ".5",
        "",
        " a",
        "a: b",
        "é",
        "\x07",
    ],
)
def test_a_text_stays_one_in_yaml(text: str) -> None:
    written = yaml_octets(json.dumps({"value": text}).encode())
    assert yaml.safe_load(written) == {"value": text}
    assert b'"' in written


def test_what_is_large_is_compressed(server: RunningServer) -> None:
    annotations = {f"example.org/{i}": "x" * 1000 for i in range(200)}
    body: dict[str, Any] = service("large")
    body["metadata"]["annotations"] = annotations
    assert server.post(SERVICES, body).status == 201
    plain, headers = got(server, SERVICES)
    assert "content-encoding" not in headers
    octets, headers = got(server, SERVICES, Accept_Encoding="gzip, deflate")
    assert headers["content-encoding"] == "gzip" and "Accept-Encoding" in headers["vary"]
    assert len(octets) < len(plain) / 10
    assert gzip.decompress(octets) == plain
    assert "content-encoding" not in got(server, SERVICES, Accept_Encoding="gzip;q=0")[1]
    assert "content-encoding" not in got(server, SERVICES + "/web", Accept_Encoding="gzip")[1]
    large = got(server, SERVICES + "/large", Accept="application/yaml")[0]
    assert yaml.safe_load(large)["metadata"]["name"] == "large"


@pytest.mark.parametrize(
    ("accept", "version"),
    [(ONE, "v1"), (MANY.replace("v=v1", "v=v1beta1"), "v1beta1"), ("application/json", ""), ("", ""),
     (ONE.replace("meta.k8s.io", "x"), ""), (ONE.replace("v=v1", "v=v9"), "")],
)  # fmt: skip
def test_which_metadata_are_asked_for(accept: str, version: str) -> None:
    assert metadata_version(accept) == version


def test_which_encoding_is_asked_for() -> None:
    assert wants_yaml("application/yaml")
    assert not any(map(wants_yaml, ("*/*", "", "application/json, application/yaml")))
    assert all(map(accepts_gzip, ("gzip", "br, gzip;q=0.5")))
    assert not any(map(accepts_gzip, ("", "gzip;q=0", "gzip;q=0.0", "deflate")))
