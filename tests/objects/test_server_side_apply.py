"""Server-side apply, without a registry."""

from __future__ import annotations

import json
from typing import Any

import pytest
from objects.apply_harness import PORT_80, TIME, ApplyHarness, port, service

from svcdns.objects import kinds, server_side_apply
from svcdns.objects.errors import StatusError
from svcdns.objects.managed_fields import APPLY


class TestApply:
    def test_what_is_no_longer_applied_goes(self) -> None:
        world = ApplyHarness().apply(
            "a", service(port(80), port(81), labels={"x": "1", "y": "2"}, type="NodePort")
        )
        world.apply("a", service(port(81), labels={"y": "2"}))
        assert world.ports == {81: 81}
        assert world.obj is not None and world.obj["metadata"]["labels"] == {"y": "2"}
        assert world.spec["type"] == "ClusterIP"

    def test_the_last_element_takes_the_list_along(self) -> None:
        world = ApplyHarness().apply("a", service(port(80), labels={"x": "1"})).apply("a", service())
        assert "ports" not in world.spec
        assert world.obj is not None and "labels" not in world.obj["metadata"]
        assert world.entries == []

    def test_an_element_goes_with_what_others_set_in_it(self) -> None:
        world = ApplyHarness().apply("a", service(port(80), port(81)))
        ports = [{**each, "appProtocol": "http"} for each in world.spec["ports"]]
        world.update("b", spec={"ports": ports})
        assert set(world.owners["b"]["f:spec"]["f:ports"][PORT_80]) == {"f:appProtocol"}
        world.apply("a", service(port(81)))
        assert world.spec["ports"] == ports[1:]

    def test_an_empty_list_says_nothing(self) -> None:
        def finalizers(*names: str) -> dict[str, Any]:
            obj = service(port(80))
            return {**obj, "metadata": {**obj["metadata"], "finalizers": list(names)}}

        world = ApplyHarness().apply("a", finalizers("a.example/x")).apply("a", finalizers())
        for _ in range(2):
            assert world.obj is not None and "finalizers" not in world.obj["metadata"]
            world.apply("a", finalizers())

    def test_what_the_server_gave_stays(self) -> None:
        world = ApplyHarness().apply("a", service(port(80), type="ClusterIP"))
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
        world = ApplyHarness().apply("a", service(port(80))).apply("b", service(port(81)))
        assert world.ports == {80: 80, 81: 81}
        world.apply("a", service(port(80, targetPort=8080)))
        assert world.ports == {80: 8080, 81: 81}
        world.apply("b", service())
        assert world.ports == {80: 8080}
        assert set(world.owners) == {"a"}

    def test_the_same_value_is_shared_and_stays_until_both_let_go(self) -> None:
        world = ApplyHarness().apply("a", service(port(80), type="NodePort"))
        world.apply("b", service(type="NodePort"))
        world.apply("a", service(port(80)))
        assert world.spec["type"] == "NodePort"
        world.apply("b", service())
        assert world.spec["type"] == "ClusterIP"

    def test_a_conflict(self) -> None:
        world = ApplyHarness().apply("a", service(port(80), type="NodePort"))
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
        world = ApplyHarness().apply("a", service(port(80, targetPort=1), type="NodePort"))
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
        world = ApplyHarness().apply("a", service(port(80), labels={f"l{n}": "1" for n in range(5000)}))
        error = world.refused("b", service(port(80), labels={f"l{n}": "2" for n in range(5000)}))
        assert error.message.startswith('Apply failed with 5000 conflicts: conflicts with "a":\n- .metadata.')
        assert error.message.endswith("\nand more") and len(error.causes) == 100

    def test_force_takes_the_field(self) -> None:
        world = ApplyHarness().apply("a", service(port(80), type="NodePort"))
        world.apply("b", service(type="LoadBalancer"), force=True)
        assert world.spec["type"] == "LoadBalancer"
        assert "f:type" not in world.owners["a"]["f:spec"]
        assert world.refused("a", service(port(80), type="NodePort")).code == 409

    def test_an_atomic_field_has_one_owner_as_a_whole(self) -> None:
        world = ApplyHarness().apply("a", service(port(80), selector={"app": "web"}))
        error = world.refused("b", service(selector={"tier": "x"}))
        assert error.causes[0].field == ".spec.selector"
        world.apply("b", service(selector={"tier": "x"}), force=True)
        assert world.spec["selector"] == {"tier": "x"}

    def test_a_list_of_values_is_a_set(self) -> None:
        def finalizers(*names: str) -> dict[str, Any]:
            obj = service(port(80))
            return {**obj, "metadata": {**obj["metadata"], "finalizers": list(names)}}

        world = ApplyHarness().apply("a", finalizers("a.example/x", "a.example/y"))
        world.apply("b", finalizers("a.example/z", "a.example/y"))
        assert world.obj is not None
        assert world.obj["metadata"]["finalizers"] == ["a.example/x", "a.example/z", "a.example/y"]
        world.apply("a", finalizers("a.example/x"))
        assert world.obj["metadata"]["finalizers"] == ["a.example/x", "a.example/z", "a.example/y"]
        world.apply("b", service(port(80)))
        assert world.obj["metadata"]["finalizers"] == ["a.example/x"]

    def test_elements_come_in_the_order_of_the_configuration(self) -> None:
        world = ApplyHarness().apply("a", service(port(80), port(81), port(82)))
        world.apply("a", service(port(82), port(83), port(80), port(81)))
        assert list(world.ports) == [82, 83, 80, 81]

    def test_elements_of_others_stay_where_they_were(self) -> None:
        world = ApplyHarness().apply("a", service(port(80), port(81))).apply("b", service(port(82)))
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
        for world in (ApplyHarness(), ApplyHarness().apply("a", service(port(80)))):
            error = world.refused("b", service(*ports))
            assert error.code == 400 and words in error.message

    def test_ports_of_two_protocols_are_two(self) -> None:
        world = ApplyHarness().apply("a", service(port(53, protocol="UDP"), {"name": "t", "port": 53}))
        assert len(world.spec["ports"]) == 2
        world.apply("a", service({"name": "t", "port": 53}))
        assert [entry["protocol"] for entry in world.spec["ports"]] == ["TCP"]

    def test_an_empty_configuration_of_a_new_object_owns_nothing(self) -> None:
        assert ApplyHarness(kinds.NAMESPACE).apply("a", {"metadata": {"name": "x"}}).entries == []

    def test_managed_fields_in_a_configuration(self) -> None:
        config = service(port(80))
        with pytest.raises(StatusError, match="managedFields must be nil"):
            server_side_apply.check_configuration(
                {**config, "metadata": {**config["metadata"], "managedFields": [{"manager": "x"}]}}
            )
        server_side_apply.check_configuration({**config, "metadata": {"managedFields": []}})

    def test_expected_revision_and_uid_are_handed_on(self) -> None:
        world = ApplyHarness().apply("a", service(port(80)))
        config = service(port(80))
        config["metadata"]["resourceVersion"] = "7"
        assert world.obj is not None
        new, _ = server_side_apply.apply(
            kinds.SERVICE, world.obj, config, ("a", APPLY, ""), force=False, time=TIME
        )
        assert new["metadata"]["resourceVersion"] == "7"


class TestAfterClientSideApply:
    @staticmethod
    def applied(*ports: dict[str, Any], **spec: Any) -> ApplyHarness:
        obj = service(*ports, **spec)
        obj["metadata"]["annotations"] = {server_side_apply.LAST_APPLIED: json.dumps(obj) + "\n"}
        return ApplyHarness().create("kubectl-client-side-apply", obj)

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
