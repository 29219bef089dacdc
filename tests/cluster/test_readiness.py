"""Readiness of a Pod: who has the last word."""

from typing import Any

import pytest

from svcdns.cluster.pod_conditions import as_served, as_written, kept, with_conditions
from svcdns.cluster.readiness import addresses, is_ready


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


def ready_condition(
    given: dict[str, Any], old: dict[str, Any] | None = None, now: str = "t1"
) -> tuple[str, str, str] | None:
    for condition in with_conditions(given, old, now)["status"].get("conditions", []):
        if condition["type"] == "Ready":
            return condition["status"], condition.get("reason", ""), condition.get("lastTransitionTime", "")
    return None


def test_what_is_assumed_is_shown_as_a_condition() -> None:
    assert ready_condition(pod()) == ("True", "AssumedReady", "t1")
    assert ready_condition(pod(spec=PROBED)) == ("False", "ProbeNotRun", "t1")
    assert ready_condition(pod(spec=GATED)) == ("False", "ReadinessGatesNotReady", "t1")
    assert ready_condition({"metadata": {}, "status": {}}) is None


def test_what_somebody_has_set_is_kept_apart() -> None:
    stored = with_conditions(pod({"Ready": "False"}), None, "t1")
    reported = {"type": "svcdns.io/Reported", "status": "False", "lastTransitionTime": "t1"}
    assert stored["status"]["conditions"][-1] == reported
    assert ready_condition(pod({"Ready": "False"})) == ("False", "AsReported", "t1")


def test_an_assumption_follows_what_it_is_made_from() -> None:
    waiting = with_conditions(pod(spec=GATED), None, "t1")
    assert not is_ready(waiting)
    met = {**waiting, "status": {**waiting["status"]}}
    met["status"]["conditions"] = [*waiting["status"]["conditions"], {"type": "lb", "status": "True"}]
    assert is_ready(met)
    through = with_conditions(kept(waiting, met), waiting, "t2")
    assert ready_condition(through, through) == ("True", "AssumedReady", "t2")
    assert with_conditions(through, through, "t3") == through


@pytest.mark.parametrize(
    ("spec", "said", "expected"), [({}, "False", False), (PROBED, "True", True), (GATED, "Unknown", False)]
)
@pytest.mark.parametrize("as_it_is_served", [True, False])
def test_a_patch_of_the_status_alone_is_somebodys_word(
    spec: dict[str, Any], said: str, expected: bool, as_it_is_served: bool
) -> None:
    """A JSON patch leaves our reason beside the new status; a strategic merge patch has only the word."""
    assumed = with_conditions(pod(spec=spec), None, "t1")
    shown = assumed if as_it_is_served else as_written(assumed)
    found = [c for c in shown["status"]["conditions"] if c["type"] != "Ready"]
    ready = next((c for c in shown["status"]["conditions"] if c["type"] == "Ready"), {"type": "Ready"})
    body = {**shown, "status": {**shown["status"], "conditions": [{**ready, "status": said}, *found]}}
    if not as_it_is_served:
        body = as_served(assumed, body)
    patched = with_conditions(kept(assumed, body), assumed, "t2")
    assert is_ready(patched) is expected
    assert ready_condition(patched, patched) == (said, "AsReported", "t2")
