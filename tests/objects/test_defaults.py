"""Defaults, and what an update carries over from the stored object."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from objects.samples import NAMESPACE, POD, SERVICE, SLICE, changed

from svcdns.objects import kinds
from svcdns.objects.defaults import default


def service(**spec: Any) -> dict[str, Any]:
    return {**SERVICE, "spec": {"ports": [{"port": 80}], **spec}}


def spec_of(obj: dict[str, Any], old: dict[str, Any] | None = None) -> dict[str, Any]:
    spec: dict[str, Any] = default(kinds.SERVICE, obj, old)["spec"]
    return spec


def test_service_defaults() -> None:
    whole = default(kinds.SERVICE, service())
    assert whole["spec"] == {
        "ports": [{"port": 80, "protocol": "TCP", "targetPort": 80}],
        "type": "ClusterIP",
        "sessionAffinity": "None",
        "internalTrafficPolicy": "Cluster",
    }
    assert whole["status"] == {"loadBalancer": {}}


def test_load_balancer_defaults() -> None:
    spec = spec_of(service(type="LoadBalancer", sessionAffinity="ClientIP"))
    assert spec["externalTrafficPolicy"] == "Cluster"
    assert spec["allocateLoadBalancerNodePorts"] is True
    assert spec["sessionAffinityConfig"] == {"clientIP": {"timeoutSeconds": 10800}}


def test_external_name_has_no_traffic_policy() -> None:
    spec = spec_of({**SERVICE, "spec": {"type": "ExternalName", "externalName": "a.b"}})
    assert spec == {"type": "ExternalName", "externalName": "a.b", "sessionAffinity": "None"}


def test_empty_is_absent() -> None:
    empty = service(type="", clusterIP="", clusterIPs=[], sessionAffinity="")
    assert spec_of(empty) == spec_of(service())


@pytest.mark.parametrize("given", [{"clusterIP": "10.96.0.9"}, {"clusterIPs": ["10.96.0.9"]}])
def test_cluster_ip_and_cluster_ips_mirror_each_other(given: dict[str, Any]) -> None:
    spec = spec_of(service(**given))
    assert (spec["clusterIP"], spec["clusterIPs"]) == ("10.96.0.9", ["10.96.0.9"])


def test_pod_defaults() -> None:
    whole = default(kinds.POD, POD)
    assert whole["spec"]["restartPolicy"] == "Always"
    assert whole["spec"]["dnsPolicy"] == "ClusterFirst"
    assert whole["spec"]["containers"][0]["ports"] == [
        {"name": "http", "containerPort": 8080, "protocol": "TCP"}
    ]
    assert whole["status"]["podIPs"] == [{"ip": "10.1.0.1"}]
    assert whole["status"]["phase"] == "Running"


def test_pod_without_address_is_pending() -> None:
    assert default(kinds.POD, changed(POD, "status", ...))["status"] == {
        "phase": "Pending",
        "qosClass": "BestEffort",
    }
    both = default(kinds.POD, changed(POD, "status", {"podIPs": [{"ip": "10.1.0.2"}, {"ip": "fd00::2"}]}))
    assert both["status"]["podIP"] == "10.1.0.2"


def test_namespace_defaults() -> None:
    whole = default(kinds.NAMESPACE, NAMESPACE)
    assert whole["metadata"]["labels"] == {"kubernetes.io/metadata.name": "shop"}
    assert whole["spec"] == {"finalizers": ["kubernetes"]}
    assert whole["status"] == {"phase": "Active"}


def test_slice_defaults() -> None:
    whole = default(kinds.ENDPOINTSLICE, changed(SLICE, "ports", [{"port": 1}]))
    assert whole["ports"] == [{"name": "", "port": 1, "protocol": "TCP"}]


@pytest.mark.parametrize(
    ("kind", "obj"),
    [
        (kinds.SERVICE, SERVICE),
        (kinds.SERVICE, service(type="LoadBalancer", sessionAffinity="ClientIP")),
        (kinds.POD, POD),
        (kinds.POD, changed(POD, "status", ...)),
        (kinds.NAMESPACE, NAMESPACE),
        (kinds.ENDPOINTSLICE, SLICE),
        (kinds.ENDPOINTS, {"subsets": []}),
    ],
    ids=str,
)
def test_defaulting_is_pure_and_idempotent(kind: kinds.Kind, obj: dict[str, Any]) -> None:
    before = copy.deepcopy(obj)
    whole = default(kind, obj)
    assert default(kind, whole) == whole
    assert default(kind, obj, whole) == whole
    assert default(kind, whole, whole) == whole
    assert obj == before


class TestCarryOver:
    OLD = default(
        kinds.SERVICE,
        service(
            type="NodePort",
            clusterIPs=["10.96.0.9", "fd00::9"],
            ipFamilies=["IPv4", "IPv6"],
            ipFamilyPolicy="PreferDualStack",
            ports=[
                {"name": "a", "port": 80, "nodePort": 30080},
                {"name": "b", "port": 81, "nodePort": 30081},
            ],
        ),
    )

    def after(self, **spec: Any) -> dict[str, Any]:
        return spec_of(service(**spec), self.OLD)

    def test_a_replace_from_the_manifest_keeps_what_was_allocated(self) -> None:
        spec = self.after(type="NodePort", ports=[{"name": "b", "port": 8181}, {"name": "c", "port": 82}])
        assert spec["clusterIP"] == "10.96.0.9"
        assert spec["clusterIPs"] == ["10.96.0.9", "fd00::9"]
        assert spec["ipFamilies"] == ["IPv4", "IPv6"]
        assert [port.get("nodePort") for port in spec["ports"]] == [30081, None]

    def test_a_node_port_is_not_kept_for_two(self) -> None:
        ports = [{"name": "a", "port": 80}, {"name": "z", "port": 81, "nodePort": 30080}]
        assert [port.get("nodePort") for port in self.after(type="NodePort", ports=ports)["ports"]] == [
            None,
            30080,
        ]

    def test_leaving_node_port_drops_what_was_left_as_it_was(self) -> None:
        whole = changed(self.OLD, "spec.type", "ClusterIP")
        spec = spec_of(whole, self.OLD)
        assert all("nodePort" not in port for port in spec["ports"])
        assert "externalTrafficPolicy" not in spec

    def test_becoming_external_name_drops_addresses(self) -> None:
        whole = changed(changed(self.OLD, "spec.type", "ExternalName"), "spec.externalName", "a.b")
        assert not {"clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"} & set(spec_of(whole, self.OLD))

    def test_single_stack_gives_up_the_second_family(self) -> None:
        spec = self.after(type="NodePort", ipFamilyPolicy="SingleStack")
        assert (spec["clusterIPs"], spec["ipFamilies"]) == (["10.96.0.9"], ["IPv4"])

    def test_changing_one_of_cluster_ip_and_cluster_ips_means_both(self) -> None:
        old = default(kinds.SERVICE, service(clusterIP="10.96.0.9"))
        patched = changed(old, "spec.clusterIP", "10.96.0.10")
        assert spec_of(patched, old)["clusterIPs"] == ["10.96.0.10"]
        cleared = changed(old, "spec.clusterIP", "")
        assert spec_of(cleared, old)["clusterIP"] == "10.96.0.9"

    def test_changing_one_of_pod_ip_and_pod_ips_means_both(self) -> None:
        old = default(kinds.POD, POD)
        one = default(kinds.POD, changed(old, "status.podIP", "10.1.0.2"), old)
        assert one["status"]["podIPs"] == [{"ip": "10.1.0.2"}]
        other = default(kinds.POD, changed(old, "status.podIPs", [{"ip": "10.1.0.3"}]), old)
        assert other["status"]["podIP"] == "10.1.0.3"
        again = default(kinds.POD, changed(POD, "status", {"podIPs": [{"ip": "10.1.0.1"}]}), old)
        assert again["status"]["podIP"] == "10.1.0.1"

    def test_a_pod_that_gets_its_address_runs(self) -> None:
        old = default(kinds.POD, changed(POD, "status", ...))
        new = default(kinds.POD, changed(old, "status.podIP", "10.1.0.2"), old)
        assert new["status"]["phase"] == "Running"
