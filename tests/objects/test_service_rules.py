"""What a Service may mean: every cause of a 422, by field and reason, all at once."""

from __future__ import annotations

from typing import Any

import pytest
from objects.samples import SERVICE, changed

from svcdns.objects.defaults import default
from svcdns.objects.errors import invalid
from svcdns.objects.kinds import SERVICE as KIND
from svcdns.objects.validation import MOST_CAUSES, validate

TTL = "svcdns.io/dns-ttl"


def found(obj: dict[str, Any], old: dict[str, Any] | None = None) -> list[tuple[str, str]]:
    """Return (field, reason without FieldValue) of every cause."""
    before = None if old is None else default(KIND, old)
    causes = validate(KIND, default(KIND, obj, before), before)
    return [(cause.field, cause.reason.removeprefix("FieldValue")) for cause in causes]


def spec(**fields: Any) -> dict[str, Any]:
    """Return a Service of one port with some fields of its spec set."""
    return {**SERVICE, "spec": {"ports": [{"port": 80}], **fields}}


def ports(*listed: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return spec(**fields, ports=list(listed))


@pytest.mark.parametrize(
    "obj",
    [
        SERVICE,
        spec(),
        spec(clusterIP="None", ports=[]),
        spec(clusterIP="None"),
        spec(clusterIPs=["None"]),
        spec(clusterIP="10.96.0.9"),
        spec(
            clusterIPs=["10.96.0.9", "fd00::9"],
            ipFamilies=["IPv4", "IPv6"],
            ipFamilyPolicy="RequireDualStack",
        ),
        spec(clusterIPs=["fd00::9", "10.96.0.9"]),
        spec(type="ExternalName", externalName="www.example.com.", ports=[]),
        spec(type="ExternalName", externalName="192.0.2.1", ports=[]),
        spec(type="ExternalName", externalName="a" * 64 + ".c", ports=[]),
        spec(type="ExternalName", externalName="a.c", ports=[{"port": 80, "protocol": "TCP", "nodePort": 1}]),
        spec(type="NodePort", ports=[{"port": 80, "nodePort": 30080}]),
        spec(type="LoadBalancer", loadBalancerIP="192.0.2.1", loadBalancerSourceRanges=["10.0.0.0/8"]),
        spec(externalIPs=["192.0.2.1", "2001:db8::1"]),
        spec(sessionAffinity="ClientIP"),
        ports({"port": 53, "protocol": "UDP", "name": "a"}, {"port": 53, "protocol": "TCP", "name": "b"}),
    ],
)
def test_right_services(obj: dict[str, Any]) -> None:
    assert found(obj) == []


@pytest.mark.parametrize(
    ("obj", "expected"),
    [
        (spec(ports=[]), [("spec.ports", "Required")]),
        (spec(type="Cluster"), [("spec.type", "NotSupported")]),
        (ports({"name": "a"}), [("spec.ports[0].port", "Required")]),
        (ports({"port": 0, "targetPort": 1}), [("spec.ports[0].port", "Invalid")]),
        (ports({"port": 65536, "targetPort": 1}), [("spec.ports[0].port", "Invalid")]),
        (ports({"port": 80, "targetPort": "8080"}), [("spec.ports[0].targetPort", "Invalid")]),
        (ports({"port": 80, "targetPort": 70000}), [("spec.ports[0].targetPort", "Invalid")]),
        (ports({"port": 80, "protocol": "tcp"}), [("spec.ports[0].protocol", "NotSupported")]),
        (ports({"port": 80, "name": "Http"}), [("spec.ports[0].name", "Invalid")]),
        (ports({"port": 80, "appProtocol": "a b"}), [("spec.ports[0].appProtocol", "Invalid")]),
        (
            ports({"port": 80}, {"port": 81, "name": "b"}),
            [("spec.ports[0].name", "Required")],
        ),
        (
            ports({"port": 80, "name": "a"}, {"port": 81, "name": "a"}),
            [("spec.ports[1].name", "Duplicate")],
        ),
        (
            ports({"port": 80, "name": "a"}, {"port": 80, "name": "b"}),
            [("spec.ports[1]", "Duplicate")],
        ),
        (ports({"port": 80, "nodePort": 30000}), [("spec.ports[0].nodePort", "Forbidden")]),
        (
            ports(
                {"port": 80, "name": "a", "nodePort": 30000},
                {"port": 81, "name": "b", "nodePort": 30000},
                type="NodePort",
            ),
            [("spec.ports[1].nodePort", "Duplicate")],
        ),
        (spec(type="NodePort", clusterIP="None"), [("spec.clusterIPs[0]", "Invalid")]),
        (spec(type="LoadBalancer", clusterIP="None"), [("spec.clusterIPs[0]", "Invalid")]),
        (spec(clusterIPs=["None", "10.96.0.1"]), [("spec.clusterIPs", "Invalid")]),
        (spec(clusterIP="10.96.0.1", clusterIPs=["10.96.0.2"]), [("spec.clusterIPs", "Invalid")]),
        (spec(clusterIPs=["10.96.0.1", "10.96.0.2"]), [("spec.clusterIPs", "Invalid")]),
        (spec(clusterIPs=["10.96.0.1", "fd00::1", "fd00::2"]), [("spec.clusterIPs", "Invalid")]),
        (spec(clusterIP="10.96.0.256"), [("spec.clusterIPs[0]", "Invalid")]),
        (spec(clusterIP="::ffff:10.96.0.1"), [("spec.clusterIPs[0]", "Invalid")]),
        (spec(clusterIP="224.0.0.9"), [("spec.clusterIPs[0]", "Invalid")]),
        (spec(clusterIP="fd00::1", ipFamilies=["IPv4"]), [("spec.clusterIPs[0]", "Invalid")]),
        (spec(ipFamilies=["IPv4", "IPv4"]), [("spec.ipFamilies[1]", "Duplicate")]),
        (spec(ipFamilies=["IPX"]), [("spec.ipFamilies[0]", "NotSupported")]),
        (spec(ipFamilyPolicy="Dual"), [("spec.ipFamilyPolicy", "NotSupported")]),
        (spec(type="ExternalName"), [("spec.externalName", "Required")]),
        (spec(type="ExternalName", externalName="."), [("spec.externalName", "Required")]),
        (spec(type="ExternalName", externalName="a_b.c"), [("spec.externalName", "Invalid")]),
        (spec(type="ExternalName", externalName="a." * 128), [("spec.externalName", "Invalid")]),
        (
            spec(
                type="ExternalName", externalName="a.b", clusterIP="10.96.0.1", ipFamilyPolicy="SingleStack"
            ),
            [
                ("spec.clusterIP", "Forbidden"),
                ("spec.clusterIPs", "Forbidden"),
                ("spec.ipFamilyPolicy", "Forbidden"),
            ],
        ),
        (spec(externalIPs=["127.0.0.1"]), [("spec.externalIPs[0]", "Invalid")]),
        (spec(externalIPs=["192.0.2.1", "fe80::1"]), [("spec.externalIPs[1]", "Invalid")]),
        (spec(selector={"a b": "c"}), [("spec.selector", "Invalid")]),
        (spec(selector={"a": "b c"}), [("spec.selector[a]", "Invalid")]),
        (spec(sessionAffinity="Client"), [("spec.sessionAffinity", "NotSupported")]),
        (
            spec(sessionAffinity="ClientIP", sessionAffinityConfig={"clientIP": {"timeoutSeconds": 0}}),
            [("spec.sessionAffinityConfig.clientIP.timeoutSeconds", "Invalid")],
        ),
        (spec(externalTrafficPolicy="Local"), [("spec.externalTrafficPolicy", "Invalid")]),
        (
            spec(type="NodePort", externalTrafficPolicy="None"),
            [("spec.externalTrafficPolicy", "NotSupported")],
        ),
        (spec(internalTrafficPolicy="None"), [("spec.internalTrafficPolicy", "NotSupported")]),
        (spec(healthCheckNodePort=3), [("spec.healthCheckNodePort", "Invalid")]),
        (spec(allocateLoadBalancerNodePorts=True), [("spec.allocateLoadBalancerNodePorts", "Forbidden")]),
        (spec(type="LoadBalancer", loadBalancerIP="x"), [("spec.loadBalancerIP", "Invalid")]),
        (
            spec(type="LoadBalancer", loadBalancerSourceRanges=["10.0.0.0/33"]),
            [("spec.loadBalancerSourceRanges[0]", "Invalid")],
        ),
    ],
)
def test_wrong_services(obj: dict[str, Any], expected: list[tuple[str, str]]) -> None:
    assert found(obj) == expected


@pytest.mark.parametrize("value", ["0", "5", "3600"])
def test_ttl_annotation(value: str) -> None:
    obj = changed(SERVICE, "metadata.annotations", {TTL: value})
    assert found(obj) == []


@pytest.mark.parametrize("value", ["", "3601", "-1", "5s", "1e3", " 5", "٣", "9" * 1000])
def test_wrong_ttl_annotation(value: str) -> None:
    (cause,) = validate(KIND, default(KIND, changed(SERVICE, "metadata.annotations", {TTL: value})))
    assert cause.field == "metadata.annotations[svcdns.io/dns-ttl]"
    assert cause.message.endswith("must be an integer from 0 to 3600 (seconds)")


def test_all_causes_in_one_answer() -> None:
    obj = spec(type="x", ports=[{"port": 0}, {"port": 80, "protocol": "X"}], selector={"": ""})
    obj["metadata"] = {"name": "Web", "namespace": "shop"}
    status = invalid("Service", "Web", validate(KIND, default(KIND, obj))).as_json()
    fields = {cause["field"] for cause in status["details"]["causes"]}
    assert fields >= {
        "metadata.name",
        "spec.type",
        "spec.ports[0].name",
        "spec.ports[0].port",
        "spec.ports[1].protocol",
        "spec.selector",
    }


def test_a_port_error_reads_as_in_kubernetes() -> None:
    obj = ports({"port": 70000, "targetPort": 1})
    status = invalid("Service", "web", validate(KIND, default(KIND, obj)))
    assert status.message == (
        'Service "web" is invalid: spec.ports[0].port: Invalid value: 70000: '
        "must be between 1 and 65535, inclusive"
    )


def test_a_huge_wrong_service_has_a_short_answer() -> None:
    causes = validate(KIND, default(KIND, ports(*[{"port": -1}] * 50_000)))
    assert len(causes) == MOST_CAUSES + 1
    assert "more" in causes[-1].message


class TestUpdate:
    OLD = spec(clusterIP="10.96.0.9", ipFamilies=["IPv4"], ipFamilyPolicy="SingleStack")
    DUAL = spec(
        clusterIPs=["10.96.0.9", "fd00::9"], ipFamilies=["IPv4", "IPv6"], ipFamilyPolicy="PreferDualStack"
    )

    def test_cluster_ip_is_immutable(self) -> None:
        assert found(spec(clusterIP="10.96.0.10"), self.OLD) == [("spec.clusterIPs[0]", "Invalid")]
        (cause,) = validate(KIND, default(KIND, spec(clusterIP="10.96.0.10")), default(KIND, self.OLD))
        assert cause.message == 'Invalid value: ["10.96.0.10"]: may not change once set'

    def test_headless_stays_headless(self) -> None:
        assert found(spec(), spec(clusterIP="None")) == []
        assert found(spec(clusterIP="10.96.0.1"), spec(clusterIP="None")) == [
            ("spec.clusterIPs[0]", "Invalid")
        ]
        assert found(spec(clusterIP="None"), self.OLD) == [("spec.clusterIPs[0]", "Invalid")]

    def test_an_absent_cluster_ip_is_kept(self) -> None:
        after = default(KIND, spec(), default(KIND, self.OLD))
        assert after["spec"]["clusterIP"] == "10.96.0.9"
        assert found(spec(), self.OLD) == []

    def test_type_change_to_and_from_external_name_is_free(self) -> None:
        external = spec(type="ExternalName", externalName="a.b", ports=[])
        assert found(external, self.OLD) == []
        assert found(spec(clusterIP="10.96.0.10"), external) == []

    def test_second_family_may_be_added(self) -> None:
        after = spec(clusterIP="10.96.0.9", ipFamilyPolicy="PreferDualStack", ipFamilies=["IPv4", "IPv6"])
        assert found(after, self.OLD) == []

    def test_second_family_may_be_given_up_with_single_stack(self) -> None:
        assert found(changed(self.DUAL, "spec.ipFamilyPolicy", "SingleStack"), self.DUAL) == []
        dropped = spec(clusterIPs=["10.96.0.9"], ipFamilies=["IPv4"])
        assert found(dropped, self.DUAL) == [
            ("spec.clusterIPs[0]", "Invalid"),
            ("spec.ipFamilies[0]", "Invalid"),
        ]

    def test_families_do_not_change(self) -> None:
        assert ("spec.ipFamilies[0]", "Invalid") in found(spec(ipFamilies=["IPv6"]), self.OLD)
