"""Readiness of a Pod: who has the last word."""

from typing import Any

import pytest

from svcdns.cluster.readiness import addresses, is_ready, with_ready_condition


def pod(
    conditions: dict[str, str] | None = None, spec: dict[str, Any] | None = None, ready: str = ""
) -> dict[str, Any]:
    annotations = {"svcdns.io/ready": ready} if ready else {}
    listed = [{"type": kind, "status": status} for kind, status in (conditions or {}).items()]
    return {
        "metadata": {"name": "p", "namespace": "n", "annotations": annotations},
        "spec": spec or {},
        "status": {"podIP": "10.0.0.1", "conditions": listed},
    }


PROBED = {"containers": [{"name": "c", "readinessProbe": {"tcpSocket": {"port": 1}}}]}
GATED = {"readinessGates": [{"conditionType": "lb"}]}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (pod(), True),
        (pod({"Ready": "True"}), True),
        (pod({"Ready": "False"}), False),
        (pod({"Ready": "Unknown"}), False),
        (pod(spec=PROBED), False),
        (pod({"Ready": "True"}, PROBED), True),
        (pod(spec=GATED), False),
        (pod({"lb": "True"}, GATED), True),
        (pod({"lb": "False"}, GATED), False),
        (pod({"Ready": "True"}, ready="false"), False),
        (pod({"Ready": "False"}, ready="true"), True),
    ],
)
def test_ready(given: dict[str, Any], expected: bool) -> None:
    assert is_ready(given) is expected


def test_addresses_come_from_pod_ips_and_else_from_pod_ip() -> None:
    both = {"status": {"podIP": "10.0.0.1", "podIPs": [{"ip": "10.0.0.1"}, {"ip": "fd00::1"}]}}
    assert [str(a) for a in addresses(both)] == ["10.0.0.1", "fd00::1"]
    assert [str(a) for a in addresses({"status": {"podIP": "10.0.0.2"}})] == ["10.0.0.2"]
    assert addresses({}) == []


def ready_condition(given: dict[str, Any], now: str = "t1") -> tuple[str, str, str] | None:
    for condition in with_ready_condition(given, now)["status"].get("conditions", []):
        if condition["type"] == "Ready":
            return condition["status"], condition.get("reason", ""), condition.get("lastTransitionTime", "")
    return None


def test_what_is_assumed_is_shown_as_a_condition() -> None:
    assert ready_condition(pod()) == ("True", "AssumedReady", "t1")
    assert ready_condition(pod(spec=PROBED)) == ("False", "ProbeNotRun", "t1")
    assert ready_condition(pod(spec=GATED)) == ("False", "ReadinessGatesNotReady", "t1")
    assert ready_condition({"metadata": {}, "status": {}}) is None


def test_what_somebody_has_set_is_left_alone() -> None:
    assert ready_condition(pod({"Ready": "False"})) == ("False", "", "")


def test_an_assumption_follows_what_it_is_made_from() -> None:
    waiting = with_ready_condition(pod(spec=GATED), "t1")
    assert not is_ready(waiting)
    waiting["status"]["conditions"].append({"type": "lb", "status": "True"})
    assert is_ready(waiting)
    through = with_ready_condition(waiting, "t2")
    assert ready_condition(through) == ("True", "AssumedReady", "t2")
    assert with_ready_condition(through, "t3") == through


@pytest.mark.parametrize(
    ("spec", "said", "expected"), [({}, "False", False), (PROBED, "True", True), (GATED, "Unknown", False)]
)
def test_a_patch_of_the_status_alone_is_somebodys_word(
    spec: dict[str, Any], said: str, expected: bool
) -> None:
    """A strategic merge patch of the condition leaves our reason beside the new status."""
    assumed = with_ready_condition(pod(spec=spec), "t1")
    (condition,) = assumed["status"]["conditions"]
    patched = {**assumed, "status": {**assumed["status"], "conditions": [{**condition, "status": said}]}}
    assert is_ready(patched) is expected
    assert ready_condition(patched, "t2") == (said, "", "t2")
