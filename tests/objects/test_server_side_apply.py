"""Server-side apply and the ownership of fields, without a registry.

The laws at the end are about any sequence of managers who apply any configurations.
"""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from objects import samples

from svcdns.objects import field_paths, kinds, ownership, server_side_apply
from svcdns.objects.defaults import default
from svcdns.objects.errors import StatusError
from svcdns.objects.field_walks import everything
from svcdns.objects.kinds import Kind
from svcdns.objects.ownership import APPLY, UPDATE
from svcdns.objects.schema import structure
from svcdns.objects.shape import shape_of

PORT_80 = 'k:{"port":80,"protocol":"TCP"}'
PORT_81 = 'k:{"port":81,"protocol":"TCP"}'
TIME = "2026-01-02T03:04:05Z"


class World:
    """One object, written to as the registry does: merged, defaulted, its owners kept."""

    def __init__(self, kind: Kind = kinds.SERVICE) -> None:
        self.kind = kind
        self.obj: dict[str, Any] | None = None
        self.seconds = 0

    def time(self) -> str:
        self.seconds += 1
        return f"2026-01-02T03:{self.seconds // 60:02}:{self.seconds % 60:02}Z"

    def apply(
        self, manager: str, config: dict[str, Any], *, force: bool = False, subresource: str = ""
    ) -> World:
        before = copy.deepcopy((self.obj, config))
        if self.obj is None:
            entries = server_side_apply.first_applied(self.kind, config, manager, self.time())
            self.obj = self._with(default(self.kind, config), entries)
            return self
        new, entries = server_side_apply.apply(
            self.kind, self.obj, config, (manager, APPLY, subresource), force=force, time=self.time()
        )
        assert (self.obj, config) == before, "nothing that is given is changed"
        self.obj = self._with(default(self.kind, new, self.obj), entries)
        return self

    def create(self, manager: str, obj: dict[str, Any]) -> World:
        new = default(self.kind, obj)
        self.obj = self._with(new, ownership.created(self.kind, new, manager, self.time()))
        return self

    def update(self, manager: str, subresource: str = "", **parts: dict[str, Any]) -> World:
        """Write parts of the object: `update("x", spec={"type": "NodePort"})`."""
        assert self.obj is not None
        new = {**self.obj, **{word: {**self.obj.get(word, {}), **part} for word, part in parts.items()}}
        new = default(self.kind, new, self.obj)
        entries = ownership.updated(
            self.kind, self.obj, new, self.entries, (manager, UPDATE, subresource), self.time()
        )
        self.obj = self._with(new, entries)
        return self

    @staticmethod
    def _with(obj: dict[str, Any], entries: list[dict[str, Any]]) -> dict[str, Any]:
        kept = {key: value for key, value in obj["metadata"].items() if key != "managedFields"}
        return {**obj, "metadata": {**kept, "managedFields": entries} if entries else kept}

    def refused(self, manager: str, config: dict[str, Any], **options: Any) -> StatusError:
        with pytest.raises(StatusError) as caught:
            self.apply(manager, config, **options)
        return caught.value

    @property
    def entries(self) -> list[dict[str, Any]]:
        assert self.obj is not None
        found: list[dict[str, Any]] = self.obj["metadata"].get("managedFields", [])
        return found

    @property
    def owners(self) -> dict[str, Any]:
        """The fields by manager."""
        return {entry["manager"]: entry["fieldsV1"] for entry in self.entries}

    @property
    def spec(self) -> Any:
        assert self.obj is not None
        return self.obj["spec"]

    @property
    def ports(self) -> dict[int, Any]:
        return {port["port"]: port.get("targetPort") for port in self.spec.get("ports", [])}


def service(*ports: dict[str, Any], labels: dict[str, str] | None = None, **spec: Any) -> dict[str, Any]:
    metadata: dict[str, Any] = {"name": "web", "namespace": "shop"}
    if labels is not None:
        metadata["labels"] = labels
    if ports:
        spec["ports"] = list(ports)
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec}


def port(number: int, **fields: Any) -> dict[str, Any]:
    return {"name": f"p{number}", "port": number, **fields}


class TestOwnership:
    def test_an_apply_owns_what_it_says_and_no_default(self) -> None:
        world = World().apply("a", service(port(80), labels={"x": "1"}, selector={"app": "web"}))
        assert world.entries == [
            {
                "manager": "a",
                "operation": "Apply",
                "apiVersion": "v1",
                "time": "2026-01-02T03:00:01Z",
                "fieldsType": "FieldsV1",
                "fieldsV1": {
                    "f:metadata": {"f:labels": {"f:x": {}}},
                    "f:spec": {
                        "f:ports": {PORT_80: {".": {}, "f:name": {}, "f:port": {}}},
                        "f:selector": {},
                    },
                },
            }
        ]

    def test_a_creator_owns_defaults_too_and_the_containers(self) -> None:
        world = World().create("c", service(port(80), labels={"x": "1"}))
        (entry,) = world.entries
        assert (entry["manager"], entry["operation"]) == ("c", "Update")
        assert entry["fieldsV1"]["f:metadata"] == {"f:labels": {".": {}, "f:x": {}}}
        spec = entry["fieldsV1"]["f:spec"]
        assert "." not in spec and "f:type" in spec and "f:status" not in entry["fieldsV1"]
        assert set(spec["f:ports"][PORT_80]) == {".", "f:name", "f:port", "f:protocol", "f:targetPort"}

    def test_a_changed_value_changes_its_owner(self) -> None:
        world = World().apply("a", service(port(80), type="ClusterIP"))
        world.update("b", spec={"type": "NodePort"})
        assert "f:type" not in world.owners["a"]["f:spec"]
        assert world.owners["b"]["f:spec"]["f:type"] == {}
        assert [entry["operation"] for entry in world.entries] == ["Apply", "Update"]

    def test_what_a_write_removes_nobody_owns(self) -> None:
        world = World().create("c", service(port(80), port(81)))
        world.update("d", spec={"ports": [world.spec["ports"][0]]})
        assert set(world.owners) == {"c"}
        assert PORT_81 not in world.owners["c"]["f:spec"]["f:ports"]
        world.update("c", spec={"ports": []})
        assert "f:ports" not in world.owners["c"]["f:spec"] or not world.owners["c"]["f:spec"]["f:ports"]

    def test_a_write_that_changes_nothing_leaves_the_entries(self) -> None:
        world = World().create("c", service(port(80)))
        before = world.entries
        assert world.update("d", spec={}).entries is before

    def test_status_is_an_entry_of_its_own(self) -> None:
        world = World().create("c", service(port(80)))
        world.update("lb", "status", status={"loadBalancer": {"ingress": [{"ip": "10.0.0.1"}]}})
        entry = world.entries[-1]
        assert (entry["manager"], entry["subresource"]) == ("lb", "status")
        assert entry["fieldsV1"] == {"f:status": {"f:loadBalancer": {"f:ingress": {}}}}

    def test_at_most_ten_updaters_are_told_apart(self) -> None:
        world = World().create("c", service(port(80)))
        for number in range(30):
            world.update(f"m{number}", metadata={"labels": {f"l{n}": "x" for n in range(number + 1)}})
        assert len(world.entries) <= 10
        assert "ancient-changes" in world.owners and "m29" in world.owners
        labels = world.owners["ancient-changes"]["f:metadata"]["f:labels"]
        assert {"f:l0", "f:l1"} < set(labels)

    def test_an_object_without_entries_is_not_tracked_until_it_is_applied(self) -> None:
        world = World().create("c", service(port(80), type="ClusterIP"))
        world.obj = {**world.obj, "metadata": {"name": "web", "namespace": "shop"}}  # type: ignore[dict-item]
        assert world.update("d", spec={"type": "NodePort"}).entries == []
        error = world.refused("a", service(type="ClusterIP"))
        assert error.causes[0].message.startswith('conflict with "before-first-apply" using v1 at ')
        world.apply("a", service(type="NodePort"))
        assert set(world.owners) == {"before-first-apply", "a"}


class TestPods:
    POD = {  # noqa: RUF012
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "web-0", "namespace": "shop", "labels": {"app": "web"}},
        "spec": {"containers": [{"name": "c", "image": "i"}]},
        "status": {"podIP": "10.1.0.1", "conditions": [{"type": "Ready", "status": "True"}]},
    }

    def test_the_fields_of_a_new_one_are_not_written_down(self) -> None:
        world = World(kinds.POD).create("c", self.POD)
        assert world.owners == {"c": {}}
        ready = {"conditions": [{"type": "Ready", "status": "False"}]}
        assert world.update("prober", "status", status=ready).owners == {"c": {}}
        assert world.update("prober", status={"conditions": []}).owners == {"c": {}}
        assert world.update("prober", spec={}, status={"conditions": []}).owners == {"c": {}}

    def test_they_are_once_someone_else_writes(self) -> None:
        world = World(kinds.POD).create("c", self.POD)
        world.update("d", metadata={"labels": {"app": "web", "added": "x"}})
        assert world.owners["d"] == {"f:metadata": {"f:labels": {"f:added": {}}}}
        assert world.owners["c"]["f:metadata"]["f:labels"] == {".": {}, "f:app": {}}
        image = world.owners["c"]["f:spec"]["f:containers"]['k:{"name":"c"}']["f:image"]
        assert image == {}
        assert "f:status" not in world.owners["c"]

    def test_whoever_applies_a_status_first_has_it(self) -> None:
        world = World(kinds.POD).create("c", self.POD)
        ready = {"metadata": {}, "status": {"conditions": [{"type": "Ready", "status": "False"}]}}
        world.apply("prober", ready, subresource="status")
        assert set(world.owners) == {"c", "prober"}

    def test_a_conflict_names_the_creator(self) -> None:
        world = World(kinds.POD).create("c", self.POD)
        other = {**self.POD, "metadata": {**self.POD["metadata"], "labels": {"app": "other"}}}  # type: ignore[dict-item]
        error = world.refused("a", other)
        assert error.causes[0].message == 'conflict with "c" using v1 at 2026-01-02T03:00:01Z'
        assert error.causes[0].field == ".metadata.labels.app"

    def test_without_a_status_the_status_stays_and_so_do_its_owners(self) -> None:
        world = World(kinds.POD).apply("a", self.POD)
        plain = {key: value for key, value in self.POD.items() if key != "status"}
        before = world.owners["a"]["f:status"]
        world.apply("a", plain)
        assert world.obj is not None and world.obj["status"]["podIP"] == "10.1.0.1"
        assert world.owners["a"]["f:status"] == before

    def test_status_applied_by_itself(self) -> None:
        world = World(kinds.POD).apply("a", {k: v for k, v in self.POD.items() if k != "status"})
        status = {"conditions": [{"type": "Ready", "status": "True"}], "podIP": "10.1.0.1"}
        world.apply(
            "prober", {"metadata": {}, "spec": {"nodeName": "no"}, "status": status}, subresource="status"
        )
        assert world.obj is not None and "nodeName" not in world.obj["spec"]
        assert world.obj["status"]["podIP"] == "10.1.0.1"
        assert world.entries[-1]["subresource"] == "status"
        error = world.refused("b", {"metadata": {}, "status": {"podIP": "10.1.0.2"}}, subresource="status")
        assert error.causes[0].message == 'conflict with "prober" with subresource "status"'
        world.apply("prober", {"metadata": {}, "status": {"podIP": "10.1.0.1"}}, subresource="status")
        assert "conditions" not in world.obj["status"] or not world.obj["status"]["conditions"]


class TestApply:
    def test_what_is_no_longer_applied_goes(self) -> None:
        world = World().apply("a", service(port(80), port(81), labels={"x": "1", "y": "2"}, type="NodePort"))
        world.apply("a", service(port(81), labels={"y": "2"}))
        assert world.ports == {81: 81}
        assert world.obj is not None and world.obj["metadata"]["labels"] == {"y": "2"}
        assert world.spec["type"] == "ClusterIP"

    def test_the_last_element_takes_the_list_along(self) -> None:
        world = World().apply("a", service(port(80), labels={"x": "1"})).apply("a", service())
        assert "ports" not in world.spec
        assert world.obj is not None and "labels" not in world.obj["metadata"]
        assert world.entries == []

    def test_an_element_goes_with_what_others_set_in_it(self) -> None:
        world = World().apply("a", service(port(80), port(81)))
        ports = [{**each, "appProtocol": "http"} for each in world.spec["ports"]]
        world.update("b", spec={"ports": ports})
        assert set(world.owners["b"]["f:spec"]["f:ports"][PORT_80]) == {"f:appProtocol"}
        world.apply("a", service(port(81)))
        assert world.spec["ports"] == ports[1:]

    def test_an_empty_list_says_nothing(self) -> None:
        def finalizers(*names: str) -> dict[str, Any]:
            obj = service(port(80))
            return {**obj, "metadata": {**obj["metadata"], "finalizers": list(names)}}

        world = World().apply("a", finalizers("a.example/x")).apply("a", finalizers())
        for _ in range(2):
            assert world.obj is not None and "finalizers" not in world.obj["metadata"]
            world.apply("a", finalizers())

    def test_what_the_server_gave_stays(self) -> None:
        world = World().apply("a", service(port(80), type="ClusterIP"))
        world.obj = {
            **world.obj,
            "spec": {**world.spec, "clusterIP": "10.96.0.7", "clusterIPs": ["10.96.0.7"]},
        }  # type: ignore[dict-item]
        world.apply("a", service(port(80)))
        assert world.spec["clusterIP"] == "10.96.0.7"
        world.apply("a", service(port(81)))
        assert world.spec["clusterIP"] == "10.96.0.7"
        assert "f:clusterIP" not in world.owners["a"]["f:spec"]

    def test_two_managers_with_ports_of_their_own(self) -> None:
        world = World().apply("a", service(port(80))).apply("b", service(port(81)))
        assert world.ports == {80: 80, 81: 81}
        world.apply("a", service(port(80, targetPort=8080)))
        assert world.ports == {80: 8080, 81: 81}
        world.apply("b", service())
        assert world.ports == {80: 8080}
        assert set(world.owners) == {"a"}

    def test_the_same_value_is_shared_and_stays_until_both_let_go(self) -> None:
        world = World().apply("a", service(port(80), type="NodePort"))
        world.apply("b", service(type="NodePort"))
        world.apply("a", service(port(80)))
        assert world.spec["type"] == "NodePort"
        world.apply("b", service())
        assert world.spec["type"] == "ClusterIP"

    def test_a_conflict(self) -> None:
        world = World().apply("a", service(port(80), type="NodePort"))
        before = world.obj
        error = world.refused("b", service(type="LoadBalancer"))
        assert (error.code, error.reason) == (409, "Conflict")
        assert error.message == 'Apply failed with 1 conflict: conflict with "a": .spec.type'
        assert error.as_json()["details"] == {
            "causes": [
                {"reason": "FieldManagerConflict", "message": 'conflict with "a"', "field": ".spec.type"}
            ]
        }
        assert world.obj is before

    def test_several_conflicts(self) -> None:
        world = World().apply("a", service(port(80, targetPort=1), type="NodePort"))
        world.update("c", spec={"sessionAffinity": "ClientIP"})
        error = world.refused(
            "b", service(port(80, targetPort=2), type="LoadBalancer", sessionAffinity="None")
        )
        at = world.entries[-1]["time"]
        assert error.message == (
            "Apply failed with 3 conflicts: "
            'conflicts with "a":\n- .spec.ports[port=80,protocol="TCP"].targetPort\n- .spec.type\n'
            f'conflicts with "c" using v1 at {at}:\n- .spec.sessionAffinity'
        )
        assert [cause.field for cause in error.causes] == [
            '.spec.ports[port=80,protocol="TCP"].targetPort',
            ".spec.type",
            ".spec.sessionAffinity",
        ]

    def test_not_all_of_very_many_conflicts_are_told(self) -> None:
        world = World().apply("a", service(port(80), labels={f"l{n}": "1" for n in range(5000)}))
        error = world.refused("b", service(port(80), labels={f"l{n}": "2" for n in range(5000)}))
        assert error.message.startswith('Apply failed with 5000 conflicts: conflicts with "a":\n- .metadata.')
        assert error.message.endswith("\nand more") and len(error.causes) == 100

    def test_force_takes_the_field(self) -> None:
        world = World().apply("a", service(port(80), type="NodePort"))
        world.apply("b", service(type="LoadBalancer"), force=True)
        assert world.spec["type"] == "LoadBalancer"
        assert "f:type" not in world.owners["a"]["f:spec"]
        assert world.refused("a", service(port(80), type="NodePort")).code == 409

    def test_an_atomic_field_has_one_owner_as_a_whole(self) -> None:
        world = World().apply("a", service(port(80), selector={"app": "web"}))
        error = world.refused("b", service(selector={"tier": "x"}))
        assert error.causes[0].field == ".spec.selector"
        world.apply("b", service(selector={"tier": "x"}), force=True)
        assert world.spec["selector"] == {"tier": "x"}

    def test_a_list_of_values_is_a_set(self) -> None:
        def finalizers(*names: str) -> dict[str, Any]:
            obj = service(port(80))
            return {**obj, "metadata": {**obj["metadata"], "finalizers": list(names)}}

        world = World().apply("a", finalizers("a.example/x", "a.example/y"))
        world.apply("b", finalizers("a.example/z", "a.example/y"))
        assert world.obj is not None
        assert world.obj["metadata"]["finalizers"] == ["a.example/x", "a.example/z", "a.example/y"]
        world.apply("a", finalizers("a.example/x"))
        assert world.obj["metadata"]["finalizers"] == ["a.example/x", "a.example/z", "a.example/y"]
        world.apply("b", service(port(80)))
        assert world.obj["metadata"]["finalizers"] == ["a.example/x"]

    def test_elements_come_in_the_order_of_the_configuration(self) -> None:
        world = World().apply("a", service(port(80), port(81), port(82)))
        world.apply("a", service(port(82), port(83), port(80), port(81)))
        assert list(world.ports) == [82, 83, 80, 81]

    def test_elements_of_others_stay_where_they_were(self) -> None:
        world = World().apply("a", service(port(80), port(81))).apply("b", service(port(82)))
        world.apply("a", service(port(81), port(80), port(83)))
        assert list(world.ports) == [81, 80, 82, 83]

    @pytest.mark.parametrize(
        ("ports", "words"),
        [
            ([port(80), port(80)], '.spec.ports: duplicate entries for key [port=80,protocol="TCP"]'),
            ([port(80), port(80, protocol="TCP")], "duplicate entries"),
            ([{"name": "x"}], 'element has no "port"'),
        ],
    )
    def test_elements_that_cannot_be_told_apart(self, ports: list[dict[str, Any]], words: str) -> None:
        for world in (World(), World().apply("a", service(port(80)))):
            error = world.refused("b", service(*ports))
            assert error.code == 400 and words in error.message

    def test_ports_of_two_protocols_are_two(self) -> None:
        world = World().apply("a", service(port(53, protocol="UDP"), {"name": "t", "port": 53}))
        assert len(world.spec["ports"]) == 2
        world.apply("a", service({"name": "t", "port": 53}))
        assert [entry["protocol"] for entry in world.spec["ports"]] == ["TCP"]

    def test_an_empty_configuration_of_a_new_object_owns_nothing(self) -> None:
        assert World(kinds.NAMESPACE).apply("a", {"metadata": {"name": "x"}}).entries == []

    def test_managed_fields_in_a_configuration(self) -> None:
        config = service(port(80))
        with pytest.raises(StatusError, match="managedFields must be nil"):
            server_side_apply.check_configuration(
                {**config, "metadata": {**config["metadata"], "managedFields": [{"manager": "x"}]}}
            )
        server_side_apply.check_configuration({**config, "metadata": {"managedFields": []}})

    def test_expected_revision_and_uid_are_handed_on(self) -> None:
        world = World().apply("a", service(port(80)))
        config = service(port(80))
        config["metadata"]["resourceVersion"] = "7"
        assert world.obj is not None
        new, _ = server_side_apply.apply(
            kinds.SERVICE, world.obj, config, ("a", APPLY, ""), force=False, time=TIME
        )
        assert new["metadata"]["resourceVersion"] == "7"


class TestAfterClientSideApply:
    @staticmethod
    def applied(*ports: dict[str, Any], **spec: Any) -> World:
        obj = service(*ports, **spec)
        obj["metadata"]["annotations"] = {server_side_apply.LAST_APPLIED: json.dumps(obj) + "\n"}
        return World().create("kubectl-client-side-apply", obj)

    def test_kubectl_has_no_conflict_with_itself(self) -> None:
        world = self.applied(port(80, targetPort=1))
        world.apply("kubectl", service(port(80, targetPort=2)))
        assert world.ports == {80: 2}
        assert world.refused("other", service(port(80, targetPort=3))).code == 409

    def test_but_with_what_others_changed_since(self) -> None:
        world = self.applied(port(80, targetPort=1), type="ClusterIP")
        world.update("someone", spec={"type": "NodePort"})
        error = world.refused("kubectl", service(port(80, targetPort=2), type="LoadBalancer"))
        assert [cause.field for cause in error.causes] == [".spec.type"]

    def test_the_annotation_follows(self) -> None:
        world = self.applied(port(80))
        config = service(port(81))
        world.apply("kubectl", config)
        assert world.obj is not None
        text = world.obj["metadata"]["annotations"][server_side_apply.LAST_APPLIED]
        assert json.loads(text) == config and text.endswith("\n")

    @pytest.mark.parametrize("text", ["", "{", "[]", "[" * 100_000, '{"spec": 1}', '{"kind": "Pod"}'])
    def test_an_annotation_that_is_none_is_no_help(self, text: str) -> None:
        world = self.applied(port(80, targetPort=1))
        world.update("x", metadata={"annotations": {server_side_apply.LAST_APPLIED: text}})
        assert world.refused("kubectl", service(port(80, targetPort=2))).code == 409


class TestGivenEntries:
    STORED = [{"manager": "a", "operation": "Apply", "fieldsType": "FieldsV1", "fieldsV1": {"f:spec": {}}}]  # noqa: RUF012

    @staticmethod
    def given(value: Any) -> Any:
        return ownership.given_entries({"metadata": {"managedFields": value}}, TestGivenEntries.STORED)

    def test_reset(self) -> None:
        assert self.given([{}]) == []

    def test_others(self) -> None:
        entry = {**self.STORED[0], "manager": "b", "time": "2026-01-02T03:04:05Z"}
        assert self.given([entry]) == [entry]

    @pytest.mark.parametrize(
        "value",
        [
            None,
            [],
            {},
            "x",
            [{}, {}],
            [{"manager": "b"}],
            [{**STORED[0], "operation": "Other"}],
            [{**STORED[0], "fieldsType": "FieldsV2"}],
            [{**STORED[0], "fieldsV1": {"spec": {}}}],
            [{**STORED[0], "fieldsV1": None}],
            [{**STORED[0], "time": "yesterday"}],
            [{**STORED[0], "time": "2026-13-02T03:04:05Z"}],
            [{**STORED[0], "time": 5}],
            [{**STORED[0], "manager": "x" * 129}],
            [{**STORED[0], "manager": "\ud800"}],
            [{**STORED[0], "unknown": "x"}],
            [STORED[0]] * 201,
            STORED,
        ],
    )
    def test_anything_else_leaves_them(self, value: Any) -> None:
        assert self.given(value) is None

    @pytest.mark.parametrize("body", [None, [], {}, {"metadata": None}, {"metadata": []}])
    def test_no_object_at_all(self, body: Any) -> None:
        assert ownership.given_entries(body, []) is None


# Laws

TEXTS = st.sampled_from(["1", "2"])
PORTS = st.lists(
    st.builds(
        lambda number, rest: port(number, **{k: v for k, v in rest.items() if v is not None}),
        st.sampled_from([80, 81, 443]),
        st.fixed_dictionaries(
            {
                "targetPort": st.sampled_from([None, 8080, "http"]),
                "protocol": st.sampled_from([None, "TCP", "UDP"]),
                "appProtocol": st.sampled_from([None, "http", "grpc"]),
            }
        ),
    ),
    min_size=1,
    max_size=3,
    unique_by=lambda each: (each["port"], each.get("protocol", "TCP")),
)
METADATA = st.fixed_dictionaries(
    {},
    optional={
        "labels": st.dictionaries(st.sampled_from("ab"), TEXTS, max_size=2),
        "annotations": st.dictionaries(st.sampled_from("cd"), TEXTS, max_size=2),
        "finalizers": st.lists(st.sampled_from(["e/f", "e/g"]), unique=True),
    },
)
SPECS = st.fixed_dictionaries(
    {"ports": PORTS},
    optional={
        "selector": st.dictionaries(st.sampled_from("ab"), TEXTS, max_size=2),
        "sessionAffinity": st.sampled_from(["None", "ClientIP"]),
        "loadBalancerSourceRanges": st.lists(st.sampled_from(["192.0.2.1/32", "192.0.2.2/32"])),
        "publishNotReadyAddresses": st.booleans(),
    },
)
CONFIGS = st.builds(
    lambda metadata, spec: {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web", "namespace": "shop", **metadata},
        "spec": spec,
    },
    METADATA,
    SPECS,
)
STEPS = st.lists(st.tuples(st.sampled_from("abc"), CONFIGS), min_size=1, max_size=5)


def after(steps: list[tuple[str, dict[str, Any]]]) -> World:
    world = World()
    for manager, config in steps:
        world.apply(manager, config, force=True)
    return world


def without_entries(obj: dict[str, Any] | None) -> dict[str, Any]:
    assert obj is not None
    return {**obj, "metadata": {k: v for k, v in obj["metadata"].items() if k != "managedFields"}}


@given(STEPS)
def test_applied_twice_is_applied_once(steps: list[tuple[str, dict[str, Any]]]) -> None:
    world = after(steps)
    once, entries = without_entries(world.obj), world.entries
    world.apply(*steps[-1])  # without force: what is there is no conflict
    assert without_entries(world.obj) == once
    assert ownership.same_but_times(world.entries, entries)


@given(STEPS)
def test_applying_what_is_there_changes_nothing(steps: list[tuple[str, dict[str, Any]]]) -> None:
    world = after(steps)
    there, entries = without_entries(world.obj), world.owners
    world.apply("newcomer", there)
    assert without_entries(world.obj) == there
    assert {key: value for key, value in world.owners.items() if key != "newcomer"} == entries


@given(CONFIGS, CONFIGS)
def test_of_one_manager_only_its_last_configuration_is_left(a: dict[str, Any], b: dict[str, Any]) -> None:
    """But for the order of what is merged."""

    def sorted_lists(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: sorted_lists(value[key]) for key in sorted(value) if value[key] not in ({}, [])}
        return sorted(map(sorted_lists, value), key=repr) if isinstance(value, list) else value

    left, fresh = World().apply("a", a).apply("a", b), World().apply("a", b)
    assert sorted_lists(without_entries(left.obj)) == sorted_lists(without_entries(fresh.obj))
    assert left.owners == fresh.owners


@given(STEPS, CONFIGS)
def test_who_lets_go_of_all_leaves_what_others_own(
    steps: list[tuple[str, dict[str, Any]]], config: dict[str, Any]
) -> None:
    world = after(steps)
    others, before = world.owners, without_entries(world.obj)
    assert world.obj is not None
    try:
        world.apply("guest", config)
    except StatusError as error:
        assert error.code == 409 and error.causes
        return
    assert {key: value for key, value in world.owners.items() if key != "guest"} == others
    world.apply("guest", {**config, "metadata": {"name": "web", "namespace": "shop"}, "spec": {}})
    for fields in others.values():
        held = field_paths.intersection(fields, everything(shape_of(kinds.SERVICE), before))
        assert not field_paths.difference(held, everything(shape_of(kinds.SERVICE), world.obj))


@given(STEPS)
def test_who_owns_a_field_finds_it_in_the_object(steps: list[tuple[str, dict[str, Any]]]) -> None:
    world = World()
    for manager, config in steps:
        world.apply(manager, config, force=True)
        held = everything(shape_of(kinds.SERVICE), without_entries(world.obj))
        for fields in world.owners.values():
            assert not list(field_paths.paths(field_paths.difference(fields, held)))


@given(st.sampled_from([samples.SERVICE, samples.POD, samples.SLICE]).flatmap(samples.spoilt), st.booleans())
def test_any_body_is_applied_or_refused(body: dict[str, Any], force: bool) -> None:
    kind = kinds.by_manifest(str(body.get("apiVersion")), str(body.get("kind")))
    if kind not in (kinds.SERVICE, kinds.POD, kinds.ENDPOINTSLICE):
        return
    whole = {kinds.SERVICE: samples.SERVICE, kinds.POD: samples.POD}.get(kind, samples.SLICE)
    try:
        config, _ = structure(kind, body, "Ignore")
        config = {**config, "metadata": {**config.get("metadata", {}), "name": "x"}}  # as the API does
        World(kind).apply("a", config).apply("a", whole)
        World(kind).create("a", whole).apply("b", config, force=force).apply("b", config)
    except StatusError as error:
        assert error.code in (400, 409)
