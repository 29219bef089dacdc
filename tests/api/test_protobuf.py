"""Protobuf bodies: the same objects as their JSON, and 400 for everything else.

go_bodies.jsonl holds what Go's own encoder makes of objects of each kind (tests/clients/go/bodies writes it):
with every field set, with every pointer and list set to zeros, and with nothing.
"""

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from svcdns.api import bodies, protobuf
from svcdns.objects import kinds, schema
from svcdns.objects.errors import StatusError

ROOT = Path(__file__).resolve().parents[2]
GO = [json.loads(line) for line in (Path(__file__).parent / "go_bodies.jsonl").read_text().splitlines()]
OCTETS = {each["name"]: base64.b64decode(each["protobuf"]) for each in GO}
TABLE = json.loads(next((ROOT / "svcdns/api/data").glob("protobuf-*.json")).read_text())
META = "k8s.io.apimachinery.pkg.apis.meta.v1."


# An encoder, as small as can be


def number(value: int) -> bytes:
    value &= 2**64 - 1
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def field(index: int, value: int | str | bytes) -> bytes:
    if isinstance(value, int):
        return number(index << 3) + number(value)
    octets = value.encode() if isinstance(value, str) else value
    return number(index << 3 | 2) + number(len(octets)) + octets


def body(kind: str, raw: bytes, api_version: str = "v1", *more: bytes) -> bytes:
    type_meta = field(1, api_version) + field(2, kind)
    return b"k8s\0" + field(1, type_meta) + field(2, raw) + b"".join(more)


def service(*spec: bytes) -> bytes:
    return body("Service", field(1, field(1, "web")) + field(2, b"".join(spec)))


def refused(octets: bytes) -> str:
    with pytest.raises(StatusError) as caught:
        bodies.decode_protobuf(octets)
    assert (caught.value.code, caught.value.reason) == (400, "BadRequest")
    return caught.value.message


# What Go sends


def same(ours: Any, go: Any, path: str = "") -> Iterator[str]:
    """Yield where ours is not what Go's JSON says; what Go writes for "nothing" may be absent."""
    if isinstance(ours, dict) and isinstance(go, dict):
        yield from (f"{path}.{key} is not in Go's JSON" for key in ours if key not in go)
        for key, value in go.items():
            if key in ours:
                yield from same(ours[key], value, f"{path}.{key}")
            elif not says_nothing(value):
                yield f"{path}.{key} is missing: {value!r:.80}"
    elif isinstance(ours, list) and isinstance(go, list) and len(ours) == len(go):
        for index, (our, theirs) in enumerate(zip(ours, go, strict=True)):
            yield from same(our, theirs, f"{path}[{index}]")
    elif ours != go or type(ours) is not type(go):
        yield f"{path} is {ours!r:.80}, but {go!r:.80} in Go's JSON"


def says_nothing(value: Any) -> bool:
    if isinstance(value, dict):
        return all(says_nothing(inner) for inner in value.values())
    return value is None or (value == 0 and value is not False)  # 0: an IntOrString that is not set


@pytest.mark.parametrize("case", GO, ids=lambda case: case["name"])
def test_body_of_go_is_its_json(case: dict[str, Any]) -> None:
    ours = bodies.decode_protobuf(OCTETS[case["name"]])
    assert list(same(ours, case["json"])) == []
    if case["name"].endswith("every field"):
        assert ours == case["json"]


@pytest.mark.parametrize("kind", [*kinds.STORED, kinds.NEWER_EVENT], ids=lambda kind: kind.name)
@pytest.mark.parametrize("how", ["without anything", "of zeros", "with every field"])
def test_body_of_go_fits_the_schema(kind: kinds.Kind, how: str) -> None:
    name = "newer Event" if kind is kinds.NEWER_EVENT else kind.name
    ours = bodies.decode_protobuf(OCTETS[f"{name} {how}"])
    assert schema.structure(kind, ours, "Strict")[1] == ()


def test_zeros_behind_pointers_stay() -> None:
    pod = bodies.decode_protobuf(OCTETS["Pod of zeros"])
    assert pod["spec"]["terminationGracePeriodSeconds"] == 0
    assert pod["spec"]["enableServiceLinks"] is False
    assert "hostNetwork" not in pod["spec"]
    empty_dir = field(2, field(2, b""))  # of volumeSource, whose fields are the volume's own in JSON
    pod = bodies.decode_protobuf(body("Pod", field(2, field(1, field(1, "v") + empty_dir))))
    assert pod["spec"]["volumes"] == [{"name": "v", "emptyDir": {}}]


def test_what_kubectl_create_service_sends() -> None:
    """Captured from kubectl 1.32: create service clusterip web --tcp=80:8080 --tcp=443."""
    sent = bytes.fromhex(KUBECTL_SERVICE)
    assert bodies.decode_protobuf(sent) == {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web", "namespace": "shop", "labels": {"app": "web"}},
        "spec": {
            "type": "ClusterIP",
            "selector": {"app": "web"},
            "ports": [
                {"name": "80-8080", "protocol": "TCP", "port": 80, "targetPort": 8080},
                {"name": "443", "protocol": "TCP", "port": 443, "targetPort": 443},
            ],
        },
    }


KUBECTL_SERVICE = (
    "6b3873000a0d0a0276311207536572766963651287010a230a0377656212001a0473686f7022002a003200380042005a"
    "0a0a036170701203776562125c0a1b0a0738302d38303830120354435018502207080010903f1a0028000a180a033434"
    "33120354435018bb032207080010bb031a002800120a0a0361707012037765621a002209436c757374657249503a0042"
    "0052005a00600068001a020a001a002200"
)


# The wire


def test_packed_and_single_numbers_are_one_list() -> None:
    context = field(4, 7) + field(4, number(8) + number(300))  # supplementalGroups
    pod = bodies.decode_protobuf(body("Pod", field(2, field(14, context))))
    assert pod["spec"]["securityContext"] == {"supplementalGroups": [7, 8, 300]}


def test_unknown_fields_are_skipped() -> None:
    unknown = field(99, 5) + field(98, "x") + number(97 << 3 | 1) + bytes(8) + number(96 << 3 | 5) + bytes(4)
    found = bodies.decode_protobuf(service(unknown, field(4, "ClusterIP"), unknown))
    assert found["spec"] == {"type": "ClusterIP"}


def test_messages_that_come_twice_are_merged_and_scalars_replaced() -> None:
    first, second = field(2, field(4, "NodePort") + field(3, "None")), field(2, field(4, "ClusterIP"))
    found = bodies.decode_protobuf(body("Service", first + second))
    assert found["spec"] == {"type": "ClusterIP", "clusterIP": "None"}
    found = bodies.decode_protobuf(body("Service", field(2, field(4, "NodePort") + field(4, ""))))
    assert "spec" not in found or found["spec"] == {}


def test_map_entries_may_lack_key_and_value() -> None:
    entries = field(2, b"") + field(2, field(1, "a")) + field(2, field(1, "b") + field(2, "c"))
    assert bodies.decode_protobuf(service(entries))["spec"]["selector"] == {"": "", "a": "", "b": "c"}


@pytest.mark.parametrize(
    ("port", "meaning"),
    [
        (field(1, 0) + field(2, 8080) + field(3, ""), 8080),
        (field(1, 1) + field(2, 0) + field(3, "http"), "http"),
        (field(1, 0) + field(2, -1), -1),
        (b"", None),
    ],
)
def test_int_or_string(port: bytes, meaning: object) -> None:
    found = bodies.decode_protobuf(service(field(1, field(3, 80) + field(4, port))))
    assert found["spec"]["ports"][0].get("targetPort") == meaning


def test_times_are_kubernetes_own() -> None:
    """Time has whole seconds, MicroTime microseconds; what is before 1970 is a time too."""
    event = field(6, field(1, 1_700_000_000) + field(2, 999)) + field(7, field(1, -62135596800))
    found = bodies.decode_protobuf(body("Event", event + field(10, field(1, 0) + field(2, 123_456_789))))
    assert found["firstTimestamp"] == "2023-11-14T22:13:20Z"
    assert found["lastTimestamp"] == "0001-01-01T00:00:00Z"
    assert found["eventTime"] == "1970-01-01T00:00:00.123456Z"


def test_delete_options_of_any_group() -> None:
    for version in ("v1", "discovery.k8s.io/v1", "meta.k8s.io/v1"):
        found = bodies.decode_protobuf(body("DeleteOptions", field(1, 0), version))
        assert found["gracePeriodSeconds"] == 0


# What is wrong with it


@pytest.mark.parametrize(
    ("octets", "text"),
    [
        (b"{}", "does not begin with k8s and NUL"),
        (b"k8s", "does not begin with k8s and NUL"),
        (b"k8s\0", "does not name the apiVersion and kind"),
        (body("", b""), "does not name the apiVersion and kind"),
        (body("Pod", b"", ""), "does not name the apiVersion and kind"),
        (
            body("Deployment", b"", "apps/v1"),
            "'Deployment' in 'apps/v1' can't be read as protobuf here; known",
        ),
        (body("Pod", b"", "v2"), "'Pod' in 'v2' can't be read"),
        (body("Pod", b"", "v1", field(3, "gzip")), "contentEncoding 'gzip' is not understood"),
        (body("Pod", b"", "v1", field(4, "application/json")), "contentType 'application/json'"),
        (service(field(1, field(3, 80) + field(4, field(1, 2)))), "spec.ports[0].targetPort: the type 2 is"),
        (
            service(field(1, field(3, 80)), field(1, field(3, 2**31))),
            "spec.ports[1].port: 2147483648 does not",
        ),
        (service(field(1, field(3, "80"))), "spec.ports[0].port: it has the wire type 2"),
        (service(field(4, 1)), "spec.type: it has the wire type 0"),
        (service(field(4, b"\xff")), "spec.type: it is not valid UTF-8"),
        (service(field(2, field(1, b"\xff"))), "spec.selector.key: it is not valid UTF-8"),
        (service(field(4, "ClusterIP")[:-1]), "spec.type: it is cut off: 9 octets are announced, 8 are left"),
        (service(b"\x12" + number(2**63)), "octets are announced, 0 are left"),
        (service(b"\x12" + b"\xff" * 10), "a number is longer than 64 bits"),
        (service(b"\x12" + b"\xff" * 9 + b"\x7f"), "a number is longer than 64 bits"),
        (service(b"\x12"), "cut off in a number"),
        (service(b"\x00\x00"), "0 is no field number"),
        (service(number(2**32 << 3) + b"\x00"), "is no field number"),
        (service(number(99 << 3 | 3)), "wire type 3 is not in use"),
        (service(number(99 << 3 | 1) + bytes(7)), "8 octets are announced, 7 are left"),
        (body("Event", field(6, field(1, 2**62))), "firstTimestamp: 4611686018427387904 s since 1970"),
        (body("Event", field(10, field(2, -1))), "eventTime: -1 ns"),
        (
            body("Pod", field(1, field(17, field(7, field(1, "{"))))),
            "metadata.managedFields[0].fieldsV1: it is",
        ),
        (
            body("Pod", field(1, field(17, field(7, field(1, "[]"))))),
            "metadata.managedFields[0].fieldsV1: it is",
        ),
        (body("Pod", field(1, field(17, field(7, field(1, '{"a":' * 9999))))), "fieldsV1: it is"),
    ],
)
def test_what_is_wrong_is_said(octets: bytes, text: str) -> None:
    assert text in refused(octets)


@pytest.mark.parametrize("levels", [150, 300, 100_000])
def test_json_inside_is_no_deeper_than_any_body(levels: int) -> None:
    octets = body("Pod", field(1, field(17, field(7, field(1, '{"a":' * levels + "1" + "}" * levels)))))
    if levels < bodies.DEEPEST:
        assert bodies.decode_protobuf(octets)["metadata"]["managedFields"]
    else:
        assert "nested too deeply" in refused(octets)


def test_numbers_in_json_inside_fit_into_64_bits() -> None:
    text = '{"a": 123456789012345678901234567890}'
    assert "64 bits" in refused(body("Pod", field(1, field(17, field(7, field(1, text))))))


def test_a_cut_anywhere_is_refused() -> None:
    octets = OCTETS["Pod with every field"]
    for end in range(0, len(octets) - 4, 7):  # the last four octets are two empty fields of the envelope
        refused(octets[:end])


def only_refusals(octets: bytes) -> None:
    """The octets give an object that can be JSON, or StatusError 400."""
    try:
        found = bodies.decode_protobuf(octets)
    except StatusError as error:
        assert error.code == 400
        assert error.message
    else:
        json.dumps(found)


@given(st.binary(max_size=300))
def test_random_octets(octets: bytes) -> None:
    only_refusals(octets)
    only_refusals(protobuf.MAGIC + octets)


@given(st.sampled_from(sorted(TABLE["kinds"])), st.binary(max_size=300))
def test_random_octets_of_a_kind(kind: str, octets: bytes) -> None:
    version, _, name = kind.rpartition(" ")
    only_refusals(body(name, octets, version))


@given(st.sampled_from(sorted(OCTETS)), st.data())
def test_mutated_bodies(name: str, data: st.DataObject) -> None:
    octets = bytearray(OCTETS[name])
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(octets) - 1))
        octets[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3)) or b"\x80"
    only_refusals(bytes(octets))


# The API


PROTOBUF = {"Content-Type": "application/vnd.kubernetes.protobuf"}


async def test_create_and_replace(client, registry) -> None:
    web = body("Service", field(1, field(1, "db")) + field(2, field(1, field(3, 80)) + field(4, "ClusterIP")))
    answer = await client.post("/api/v1/namespaces/shop/services", data=web, headers=PROTOBUF)
    assert answer.status == 201
    assert answer.content_type == "application/json"
    assert registry.calls[-1][3]["spec"] == {"type": "ClusterIP", "ports": [{"port": 80}]}
    answer = await client.put("/api/v1/namespaces/shop/services/db", data=web, headers=PROTOBUF)
    assert answer.status == 200


async def test_parameters_of_the_media_type_are_ignored(client) -> None:
    headers = {"Content-Type": "application/vnd.kubernetes.protobuf; charset=binary"}
    made = body("Namespace", field(1, field(1, "made")))
    answer = await client.post("/api/v1/namespaces", data=made, headers=headers)
    assert answer.status == 201


async def test_delete_options(client, registry) -> None:
    uid = registry.stored(kinds.SERVICE, "shop", "web")["metadata"]["uid"]
    options = body("DeleteOptions", field(1, 5) + field(2, field(1, uid)) + field(4, "Foreground"))
    answer = await client.delete("/api/v1/namespaces/shop/services/web", data=options, headers=PROTOBUF)
    assert answer.status == 200
    given = registry.calls[-1][-1]
    assert (given.grace_period_seconds, given.uid) == (5, uid)


async def test_delete_with_another_kind(client) -> None:
    answer = await client.delete(
        "/api/v1/namespaces/shop/services/web", data=body("Pod", b""), headers=PROTOBUF
    )
    assert answer.status == 400
    assert "DeleteOptions" in (await answer.json())["message"]


@pytest.mark.parametrize(
    ("path", "octets", "text"),
    [
        ("services", b"", "has no body"),
        ("services", b"k8s\0\xff", "not valid protobuf"),
        ("services", body("Pod", b""), "kind of the object is 'Pod'"),
        ("services", body("Service", b"\x12\xff"), "not valid protobuf"),
        ("endpointslices", body("Service", b""), ""),
    ],
)
async def test_refusals_are_status_objects(client, path: str, octets: bytes, text: str) -> None:
    root = "/apis/discovery.k8s.io/v1" if path == "endpointslices" else "/api/v1"
    answer = await client.post(f"{root}/namespaces/shop/{path}", data=octets, headers=PROTOBUF)
    status = await answer.json()
    assert (answer.status, status["kind"], status["code"]) == (400, "Status", 400)
    assert text in status["message"]


async def test_patches_are_not_protobuf(client) -> None:
    answer = await client.patch("/api/v1/namespaces/shop/services/web", data=service(), headers=PROTOBUF)
    assert answer.status == 415


async def test_large_bodies_are_read_too(client, registry) -> None:
    many = body("Service", field(1, field(1, "many")) + field(2, field(1, b"") * 400_000))
    registry.fail = StatusError(507, "InsufficientStorage", "read, and not looked at")
    answer = await client.post("/api/v1/namespaces/shop/services", data=many, headers=PROTOBUF)
    assert answer.status == 507
    assert len(registry.calls[-1][3]["spec"]["ports"]) == 400_000
