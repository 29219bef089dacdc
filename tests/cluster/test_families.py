"""IP families of a Service, as in Kubernetes' dual-stack rules."""

from typing import Any

import pytest

from svcdns.cluster.families import choose_families

SELECTED = {"selector": {"app": "web"}}


@pytest.mark.parametrize(
    ("spec", "configured", "policy", "families"),
    [
        ({}, ["IPv4"], "SingleStack", ["IPv4"]),
        ({}, ["IPv6", "IPv4"], "SingleStack", ["IPv6"]),
        ({"ipFamilyPolicy": "PreferDualStack"}, ["IPv4"], "PreferDualStack", ["IPv4"]),
        ({"ipFamilyPolicy": "PreferDualStack"}, ["IPv4", "IPv6"], "PreferDualStack", ["IPv4", "IPv6"]),
        (
            {"ipFamilyPolicy": "RequireDualStack", "ipFamilies": ["IPv6"]},
            ["IPv4", "IPv6"],
            "RequireDualStack",
            ["IPv6", "IPv4"],
        ),
        ({"ipFamilies": ["IPv6"]}, ["IPv4", "IPv6"], "SingleStack", ["IPv6"]),
        ({"clusterIPs": ["fd00::5"]}, ["IPv4", "IPv6"], "SingleStack", ["IPv6"]),
        (
            {"clusterIPs": ["10.0.0.5", "fd00::5"], "ipFamilyPolicy": "PreferDualStack"},
            ["IPv4", "IPv6"],
            "PreferDualStack",
            ["IPv4", "IPv6"],
        ),
        ({"clusterIP": "None"}, ["IPv4"], "RequireDualStack", ["IPv4", "IPv6"]),
        ({"clusterIP": "None", **SELECTED}, ["IPv4"], "SingleStack", ["IPv4"]),
    ],
)
def test_families(spec: dict[str, Any], configured: list[str], policy: str, families: list[str]) -> None:
    assert choose_families(spec, configured) == (policy, families, [])


def test_a_family_without_a_range_is_refused() -> None:
    *_, causes = choose_families({"ipFamilies": ["IPv6"]}, ["IPv4"])
    assert [cause.field for cause in causes] == ["spec.ipFamilies[0]"]


def test_dual_stack_is_refused_where_there_is_one_family() -> None:
    *_, causes = choose_families({"ipFamilyPolicy": "RequireDualStack"}, ["IPv4"])
    assert [cause.field for cause in causes] == ["spec.ipFamilyPolicy"]
