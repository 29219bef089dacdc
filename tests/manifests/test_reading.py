"""Reading manifests: safely, and what is not taken named with file, document and field."""

import json
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from manifests.written import SERVICE_TEXT, reading, write
from toolbox.builders import pod, service

from svcdns.manifests.documents import objects_of
from svcdns.manifests.not_taken import NotTaken
from svcdns.manifests.reading import Manifest, read_manifests
from svcdns.objects.kinds import POD, SERVICE


def read(folder: Path, *objects: Any) -> tuple[Manifest, ...]:
    found = reading(folder, *objects)
    assert not found.not_taken
    return found.manifests


def refusal(folder: Path, *objects: Any, name: str = "m.yaml") -> str:
    """The first line about what is not taken, without the folder's path."""
    path = write(folder, name, *objects)
    first = str(read_manifests([path]).in_namespaces().not_taken[0])
    assert first.isprintable()
    return first.replace(str(path), "FILE")


def test_files_and_folders_are_read_in_order_several_documents_each(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    write(folder, "b.yml", service("b1"), "# nothing but a comment\n", service("b3"))
    write(folder, "a.yaml", service("a1"))
    (folder / "c.json").write_text(
        json.dumps(service("c1")) + "\n" + json.dumps(service("c2", namespace="kube-system"))
    )
    write(folder, "README.md", "not a manifest")
    write(folder, ".hidden.yaml", "not: a manifest")
    single = write(tmp_path, "single.manifest", service("s1"))
    found = read_manifests([folder, single, single, folder / "a.yaml"]).manifests
    assert [(m.place.file.name, m.place.document, m.namespace, m.name) for m in found] == [
        ("a.yaml", 1, "default", "a1"),
        ("b.yml", 1, "default", "b1"),
        ("b.yml", 3, "default", "b3"),
        ("c.json", 1, "default", "c1"),
        ("c.json", 2, "kube-system", "c2"),
        ("single.manifest", 1, "default", "s1"),
    ]


def test_lists_are_taken_apart(tmp_path: Path) -> None:
    typed = {key: value for key, value in service("typed").items() if key not in ("apiVersion", "kind")}
    found = read(
        tmp_path,
        {"apiVersion": "v1", "kind": "List", "items": [service("a"), pod("b")]},
        {"apiVersion": "v1", "kind": "ServiceList", "items": [typed]},
        {"apiVersion": "v1", "kind": "List", "items": None},
    )
    assert [(m.kind, m.name, m.place.prefix) for m in found] == [
        (SERVICE, "a", "items[0]"),
        (POD, "b", "items[1]"),
        (SERVICE, "typed", "items[0]"),
    ]


def test_what_another_server_gave_an_object_is_left_out(tmp_path: Path) -> None:
    exported = service()
    exported["metadata"] |= {"uid": "1", "resourceVersion": "5", "creationTimestamp": "2026-01-01T00:00:00Z"}
    (found,) = read(tmp_path, exported)
    assert found.object["metadata"] == {"name": "web", "namespace": "default"}


def test_yaml_is_read_as_kubernetes_does(tmp_path: Path) -> None:
    text = """
base: &base {app: web}
x: {<<: *base, tier: front}
when: 2026-01-01
same: [*base, *base]
"""
    text += "kind: {}\n"
    (found,) = [one[1] for one in objects_of(write(tmp_path, "x.yaml", text)) if isinstance(one, tuple)]
    assert found["x"] == {"app": "web", "tier": "front"}
    assert found["when"] == "2026-01-01", "a date is a text"
    assert found["same"] == [{"app": "web"}, {"app": "web"}]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("kind: Service", "FILE, document 1, apiVersion: is missing"),
        ("apiVersion: v1", "FILE, document 1, kind: is missing"),
        ("apiVersion: 1\nkind: Service", "FILE, document 1, apiVersion: must be a text"),
        ("- a", "FILE, document 1: is no Kubernetes object"),
        ("- kind: a", "FILE, document 1: must be a mapping with apiVersion, kind and metadata"),
        ("just text", "FILE, document 1: is no Kubernetes object"),
        ("{apiVersion: apps/v1, kind: Deployment}", "FILE, document 1: apps/v1 Deployment is no kind"),
        (
            "{apiVersion: v1, kind: Endpoints}",
            "FILE, document 1, kind: follows from other objects",
        ),
        ("{apiVersion: v1, kind: Service}", "FILE, document 1, metadata: is missing"),
        (
            "{apiVersion: v1, kind: Service, metadata: {generateName: x}}",
            "FILE, document 1, metadata.name: must",
        ),
        (
            "{apiVersion: v1, kind: Service, metadata: {name: 7}}",
            "FILE, document 1, metadata.name: must be a text",
        ),
        ("{apiVersion: v1, kind: List, items: {}}", "FILE, document 1, items: must be a list"),
        ("{apiVersion: v1, kind: List, items: [1]}", "FILE, document 1, items[0]: must be a mapping"),
        (SERVICE_TEXT + "---\na: [1", "FILE, document 2: line 7: "),
        (
            SERVICE_TEXT + "---\na: 1\nb: 2\na: 3\n",
            "FILE, document 2: line 8: the key 'a' stands there twice",
        ),
        ("a: !!python/object:os.system x", "FILE, document 1: line 1: could not determine a constructor"),
        ("a: *nobody", "FILE, document 1: line 1: found undefined alias"),
        ("a: {~: b}", "FILE, document 1: line 1: a key must be a text"),
        ("a: {? [x] : b}", "FILE, document 1: line 1: a key must be a text"),
        ("a: {b: !!binary aGk}", "FILE, document 1: line 1: a value does not fit its tag"),
        ("a: {1: b, '1': c}", "FILE, document 1: line 1: the key '1' stands there twice"),
        ("a: [.nan]", "FILE, document 1, a[0]: nan is no JSON number"),
        ("a: &x [*x]", "FILE, document 1, a[0]: refers to itself"),
        ("a\tb: \x07", "FILE, document 1: "),
        ("a: " + "[" * 100_000, "FILE, document 1: is nested deeper than 100 levels"),
        ("a: " + "{x: " * 101 + "}" * 101, "FILE, document 1: is nested deeper than 100 levels"),
        ("a: 1\n" + "# " + "x" * (8 << 20), "FILE: is larger than 8388608 octets; split it up"),
    ],
)
def test_bad_text_is_refused_with_file_and_document(tmp_path: Path, text: str, reason: str) -> None:
    assert refusal(tmp_path, text).startswith(reason)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"a": 1, "a": 2}', "FILE, document 1: the key 'a' stands there twice"),
        ('{"a": {"b": ["\\ud800"]}}', "FILE, document 1, a.b[0]: '\\ud800' has half"),
        ('{"a": {"\\udc00": 1}}', "FILE, document 1, a: '\\udc00' has half"),
        ('{"a": NaN}', "FILE, document 1: NaN is no JSON number"),
        ('{"kind": 1} {"a": }', "FILE, document 1, apiVersion: is missing"),
        ('{"a": }', "FILE, document 1: line 1: "),
        ('{"a":\n }', "FILE, document 1: line 2: "),
        ("[" * 200_000, "FILE, document 1: is nested deeper"),
        ('{"a": ' + "[" * 200 + "]" * 200 + "}", "FILE, document 1: is nested deeper"),
        ('{"a": ' + "9" * 5000 + "}", "FILE, document 1: Exceeds the limit"),
    ],
)
def test_bad_json_is_refused_too(tmp_path: Path, text: str, reason: str) -> None:
    assert refusal(tmp_path, text, name="m.json").startswith(reason)


def bomb(step: Callable[[int], str]) -> str:
    return "a0: &a0 {x: 1}\n" + "".join(f"a{n}: &a{n} {step(n - 1)}\n" for n in range(1, 12))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (bomb(lambda n: "[" + ",".join([f"*a{n}"] * 10) + "]"), "has more than 200000 values"),
        (bomb(lambda n: "{<<: [" + ",".join([f"*a{n}"] * 10) + "]}"), "a mapping has more than 10000 keys"),
        ("a: &a " + "x" * 40_000 + "\nb: [" + "*a," * 100 + "]", "is larger than 3145728 letters, aliases"),
        ("a: &a 1\nb: [" + "*a," * 2000 + "]", "there are more than 1000 aliases"),
        ("a0: &a0 []\n" + "".join(f"a{n}: &a{n} [*a{n - 1}]\n" for n in range(1, 500)), "is nested deeper"),
    ],
)
def test_small_files_that_stand_for_much_are_refused(tmp_path: Path, text: str, reason: str) -> None:
    assert reason in refusal(tmp_path, text)


@pytest.mark.parametrize(
    ("obj", "reason"),
    [
        (service(colour="red"), 'FILE, document 1, spec.colour: Service in version "v1" cannot be handled'),
        (service(ports=[{"port": "x"}]), "FILE, document 1, spec.ports[0].port: "),
        (service(ports=[{"port": 0}]), "FILE, document 1, spec.ports[0].port: "),
        (service(ports=[]), "FILE, document 1, spec.ports: "),
        (service("Not_A_Name"), "FILE, document 1, metadata.name: "),
        (pod(ip="10.0.0.300"), "FILE, document 1, status.podIP"),
        (
            service(namespace="nowhere"),
            "FILE, document 1, metadata.namespace: there is no namespace 'nowhere'",
        ),
        (
            {"apiVersion": "v1", "kind": "List", "items": [service(), service("b", ports=[{}])]},
            "FILE, document 1, items[1].spec.ports[0].port: ",
        ),
    ],
)
def test_bad_objects_are_refused_with_their_field(tmp_path: Path, obj: dict[str, Any], reason: str) -> None:
    assert refusal(tmp_path, obj).startswith(reason)


def test_whether_a_namespace_exists_is_asked_last(tmp_path: Path) -> None:
    found = reading(tmp_path, service(namespace="somewhere"))
    assert [one.name for one in found.manifests] == ["web"] and not found.not_taken
    assert found.in_namespaces(["somewhere"]) == found
    left = found.in_namespaces()
    assert not left.manifests
    assert [one.place.prefix for one in left.not_taken] == ["metadata.namespace"]


def test_one_object_in_two_places_counts_once(tmp_path: Path) -> None:
    first = write(tmp_path, "a.yaml", service("other"), service(namespace="default"))
    second = write(tmp_path, "b.yaml", service(), service(ports=[{"port": 81}]))
    found = read_manifests([tmp_path])
    assert [(one.name, one.place.file) for one in found.manifests] == [("other", first), ("web", first)]
    same, different = found.not_taken
    text = f"{second}, document 1: stands in {first}, document 2 already, the same (Service web)"
    assert (str(same), same.is_mistake) == (text, False)
    assert str(different).startswith(
        f"{second}, document 2: the same object stands in {first}, document 2 already"
    )
    assert different.is_mistake


def test_of_two_that_are_one_object_the_valid_one_counts(tmp_path: Path) -> None:
    found = reading(tmp_path, service(ports=[]), service())
    assert [one.place.document for one in found.manifests] == [2]
    assert [one.place.document for one in found.not_taken] == [1]


def test_a_path_where_nothing_is_is_named(tmp_path: Path) -> None:
    (found,) = read_manifests([tmp_path / "nothing"]).not_taken
    assert str(found) == f"{tmp_path}/nothing: can't be read: no such file or directory"


@given(st.text(st.sampled_from("ab:-[]{}&*<!|>'\"#%@? \n\t,0.~é\x00"), max_size=60))
def test_any_text_gives_objects_or_lines(text: str) -> None:
    with TemporaryDirectory() as folder:
        for found in objects_of(write(Path(folder), "any.yaml", text)):
            if isinstance(found, NotTaken):
                assert str(found).startswith(f"{folder}/any.yaml, document ")
                assert str(found).isprintable()
            else:
                json.dumps(found[1], allow_nan=False)
