"""Who owns which field after which write."""

from __future__ import annotations

from typing import Any

import pytest
from objects.apply_harness import PORT_80, PORT_81, ApplyHarness, port, service

from svcdns.objects import kinds, managed_fields


class TestOwnership:
    def test_an_apply_owns_what_it_says_and_no_default(self) -> None:
        world = ApplyHarness().apply("a", service(port(80), labels={"x": "1"}, selector={"app": "web"}))
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
        world = ApplyHarness().create("c", service(port(80), labels={"x": "1"}))
        (entry,) = world.entries
        assert (entry["manager"], entry["operation"]) == ("c", "Update")
        assert entry["fieldsV1"]["f:metadata"] == {"f:labels": {".": {}, "f:x": {}}}
        spec = entry["fieldsV1"]["f:spec"]
        assert "." not in spec and "f:type" in spec and "f:status" not in entry["fieldsV1"]
        assert set(spec["f:ports"][PORT_80]) == {".", "f:name", "f:port", "f:protocol", "f:targetPort"}

    def test_a_changed_value_changes_its_owner(self) -> None:
        world = ApplyHarness().apply("a", service(port(80), type="ClusterIP"))
        world.update("b", spec={"type": "NodePort"})
        assert "f:type" not in world.owners["a"]["f:spec"]
        assert world.owners["b"]["f:spec"]["f:type"] == {}
        assert [entry["operation"] for entry in world.entries] == ["Apply", "Update"]

    def test_what_a_write_removes_nobody_owns(self) -> None:
        world = ApplyHarness().create("c", service(port(80), port(81)))
        world.update("d", spec={"ports": [world.spec["ports"][0]]})
        assert set(world.owners) == {"c"}
        assert PORT_81 not in world.owners["c"]["f:spec"]["f:ports"]
        world.update("c", spec={"ports": []})
        assert "f:ports" not in world.owners["c"]["f:spec"] or not world.owners["c"]["f:spec"]["f:ports"]

    def test_a_write_that_changes_nothing_leaves_the_entries(self) -> None:
        world = ApplyHarness().create("c", service(port(80)))
        before = world.entries
        assert world.update("d", spec={}).entries is before

    def test_status_is_an_entry_of_its_own(self) -> None:
        world = ApplyHarness().create("c", service(port(80)))
        world.update("lb", "status", status={"loadBalancer": {"ingress": [{"ip": "10.0.0.1"}]}})
        entry = world.entries[-1]
        assert (entry["manager"], entry["subresource"]) == ("lb", "status")
        assert entry["fieldsV1"] == {"f:status": {"f:loadBalancer": {"f:ingress": {}}}}

    def test_at_most_ten_updaters_are_told_apart(self) -> None:
        world = ApplyHarness().create("c", service(port(80)))
        for number in range(30):
            world.update(f"m{number}", metadata={"labels": {f"l{n}": "x" for n in range(number + 1)}})
        assert len(world.entries) <= 10
        assert "ancient-changes" in world.owners and "m29" in world.owners
        labels = world.owners["ancient-changes"]["f:metadata"]["f:labels"]
        assert {"f:l0", "f:l1"} < set(labels)

    def test_an_object_without_entries_is_not_tracked_until_it_is_applied(self) -> None:
        world = ApplyHarness().create("c", service(port(80), type="ClusterIP"))
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
        world = ApplyHarness(kinds.POD).create("c", self.POD)
        assert world.owners == {"c": {}}
        ready = {"conditions": [{"type": "Ready", "status": "False"}]}
        assert world.update("prober", "status", status=ready).owners == {"c": {}}
        assert world.update("prober", status={"conditions": []}).owners == {"c": {}}
        assert world.update("prober", spec={}, status={"conditions": []}).owners == {"c": {}}

    def test_they_are_once_someone_else_writes(self) -> None:
        world = ApplyHarness(kinds.POD).create("c", self.POD)
        world.update("d", metadata={"labels": {"app": "web", "added": "x"}})
        assert world.owners["d"] == {"f:metadata": {"f:labels": {"f:added": {}}}}
        assert world.owners["c"]["f:metadata"]["f:labels"] == {".": {}, "f:app": {}}
        image = world.owners["c"]["f:spec"]["f:containers"]['k:{"name":"c"}']["f:image"]
        assert image == {}
        assert "f:status" not in world.owners["c"]

    def test_whoever_applies_a_status_first_has_it(self) -> None:
        world = ApplyHarness(kinds.POD).create("c", self.POD)
        ready = {"metadata": {}, "status": {"conditions": [{"type": "Ready", "status": "False"}]}}
        world.apply("prober", ready, subresource="status")
        assert set(world.owners) == {"c", "prober"}

    def test_a_conflict_names_the_creator(self) -> None:
        world = ApplyHarness(kinds.POD).create("c", self.POD)
        other = {**self.POD, "metadata": {**self.POD["metadata"], "labels": {"app": "other"}}}  # type: ignore[dict-item]
        error = world.refused("a", other)
        assert error.causes[0].message == 'conflict with "c" using v1 at 2026-01-02T03:00:01Z'
        assert error.causes[0].field == ".metadata.labels.app"

    def test_without_a_status_the_status_stays_and_so_do_its_owners(self) -> None:
        world = ApplyHarness(kinds.POD).apply("a", self.POD)
        plain = {key: value for key, value in self.POD.items() if key != "status"}
        before = world.owners["a"]["f:status"]
        world.apply("a", plain)
        assert world.obj is not None and world.obj["status"]["podIP"] == "10.1.0.1"
        assert world.owners["a"]["f:status"] == before

    def test_status_applied_by_itself(self) -> None:
        world = ApplyHarness(kinds.POD).apply("a", {k: v for k, v in self.POD.items() if k != "status"})
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


class TestGivenEntries:
    STORED = [{"manager": "a", "operation": "Apply", "fieldsType": "FieldsV1", "fieldsV1": {"f:spec": {}}}]  # noqa: RUF012

    @staticmethod
    def given(value: Any) -> Any:
        return managed_fields.given_entries({"metadata": {"managedFields": value}}, TestGivenEntries.STORED)

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
        assert managed_fields.given_entries(body, []) is None
