"""Ready follows from its sources, whatever clients write back; against a direct model."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from svcdns.cluster.pod_conditions import (
    as_served,
    as_written,
    brought_up_to_date,
    kept,
    with_conditions,
    with_heartbeat,
)
from svcdns.cluster.readiness import conditions_of, is_ready

Pod = dict[str, Any]
PROBES: dict[str, list[Any]] = {
    "none": [],
    "tcp": [{"tcpSocket": {"port": 1}}],
    "exec": [{"exec": {"command": ["a"]}}],
}
PROBES["both"] = [*PROBES["tcp"], *PROBES["exec"]]
STATUSES = ("True", "False", "Unknown")


def made(probes: str = "none", gate: bool = False, heartbeat: bool = False, **more: Any) -> Pod:
    spec: dict[str, Any] = {"containers": [{"name": str(i)} for i in range(3)]}
    for container, probe in zip(spec["containers"], PROBES[probes], strict=False):
        container["readinessProbe"] = probe
    if gate:
        spec["readinessGates"] = [{"conditionType": "lb"}]
    annotations = {"svcdns.io/heartbeat": "30s"} if heartbeat else {}
    return {"metadata": {"annotations": annotations}, "spec": spec, "status": {"podIP": "10.0.0.1", **more}}


@dataclass
class Model:
    """What is said about a Pod, and what follows."""

    probes: str
    gate: bool
    heartbeat: bool
    override: str | None = None
    reported: str | None = None
    late: bool = False
    probe: str | None = None
    met: str | None = None
    leaving: bool = False
    log: list[str] = field(default_factory=list)

    def serves(self) -> bool:
        if self.override is not None:
            return self.override == "true"
        probed = self.probes == "none" or self.reported is not None
        if self.probes != "none" and self.probe in ("True", "False"):
            probed = self.probe == "True" and (self.reported is not None or self.probes == "tcp")
        return all(
            (
                self.reported in (None, "True"),
                not (self.heartbeat and self.late),
                probed,
                not self.gate or self.met == "True",
            )
        )


def written(pod: Pod, **conditions: str | None) -> Pod:
    """A merge patch as most clients send it: the whole list of conditions, one of them new or gone."""
    listed = conditions_of(pod)
    for kind, status in conditions.items():
        kind = {"probe": "svcdns.io/Probe", "ready": "Ready"}.get(kind, kind)
        listed.pop(kind, None)
        if status is not None:
            listed[kind] = {"type": kind, "status": status}
    return {**pod, "status": {**pod["status"], "conditions": list(listed.values())}}


def by_type(pod: Pod, status: str) -> Pod:
    """A strategic merge patch of Ready: it is merged into what clients wrote."""
    view = as_written(pod)
    listed = conditions_of(view)
    listed["Ready"] = {**listed.get("Ready", {"type": "Ready"}), "status": status}
    body = {**view, "status": {**view["status"], "conditions": list(listed.values())}}
    return as_served(pod, body)


class Run:
    """A Pod that is written again and again."""

    def __init__(self, model: Model) -> None:
        self.model, self.clock = model, 0
        self.pod = with_conditions(made(model.probes, model.gate, model.heartbeat), None, self.now)
        self.seen = [self.pod]

    @property
    def now(self) -> str:
        return f"2026-01-01T00:{self.clock // 60:02}:{self.clock % 60:02}Z"

    def store(self, body: Pod) -> None:
        self.clock += 1
        self.pod = with_conditions(body, self.pod, self.now)
        self.seen.append(self.pod)

    def step(self, what: str, value: Any) -> None:
        model, pod = self.model, self.pod
        metadata = pod["metadata"]
        match what:
            case "override":
                model.override = value
                annotations = {k: v for k, v in metadata["annotations"].items() if k != "svcdns.io/ready"}
                annotations |= {} if value is None else {"svcdns.io/ready": value}
                self.store(kept(pod, {**pod, "metadata": {**metadata, "annotations": annotations}}))
            case "report":
                model.reported = value
                self.store(kept(pod, written(pod, ready=value)))
            case "patch":
                model.reported = value
                self.store(kept(pod, by_type(pod, value)))
            case "heartbeat" if model.heartbeat:
                model.late = not value
                self.store(with_heartbeat(pod, value, "30s", self.now))
            case "probe":
                model.probe = value
                self.store(kept(pod, written(pod, probe=value)))
            case "gate":
                model.met = value
                self.store(kept(pod, written(pod, lb=value)))
            case "leave":
                model.leaving = True
                self.store({**pod, "metadata": {**metadata, "deletionTimestamp": "2026-02-01T00:00:00Z"}})

    def check(self) -> None:
        expected = self.model.serves()
        assert is_ready(self.pod) is expected
        conditions = conditions_of(self.pod)
        ready = conditions["Ready"]
        assert (ready["status"] == "True") is (expected and not self.model.leaving)
        assert ready["reason"] and ready["lastTransitionTime"]
        assert ("svcdns.io/Reported" in conditions) is (self.model.reported is not None)
        assert with_conditions(self.pod, self.pod, "later") == self.pod
        self.check_echoes(ready["status"])

    def check_echoes(self, status: str) -> None:
        """Whoever writes back what they read changes nothing, by any way of writing."""
        pod = self.pod
        for body in (pod, {**pod, "status": {**pod["status"], "x": 1}}):
            again = with_conditions(kept(pod, body), pod, "later")
            assert again["status"]["conditions"] == pod["status"]["conditions"]
        assert as_served(pod, as_written(pod))["status"]["conditions"][0] == conditions_of(pod)["Ready"]
        served = [c for c in pod["status"]["conditions"] if not c["type"].startswith("svcdns.io/")]
        less = {**pod, "status": {**pod["status"], "conditions": served}}
        assert with_conditions(kept(pod, less), pod, "later") == pod
        for older in self.seen[-6:]:  # read before, written back now: only what a client said can count
            ready = conditions_of(older)["Ready"]
            if ready["reason"] == "AsReported":
                continue
            conditions = {**conditions_of(pod), "Ready": ready}
            stale = {**pod, "status": {**pod["status"], "conditions": list(conditions.values())}}
            again = with_conditions(kept(pod, stale), pod, "later")
            assert conditions_of(again)["Ready"] == conditions_of(pod)["Ready"]


STEPS = st.one_of(
    st.tuples(st.just("override"), st.sampled_from([None, "true", "false", "maybe"])),
    st.tuples(st.just("report"), st.sampled_from([*STATUSES, None])),
    st.tuples(st.just("patch"), st.sampled_from(STATUSES)),
    st.tuples(st.just("heartbeat"), st.booleans()),
    st.tuples(st.just("probe"), st.sampled_from(STATUSES)),
    st.tuples(st.just("gate"), st.sampled_from([*STATUSES, None])),
    st.tuples(st.just("leave"), st.none()),
)


@settings(max_examples=150, deadline=None)
@given(
    st.builds(Model, st.sampled_from(sorted(PROBES)), st.booleans(), st.booleans()),
    st.lists(STEPS, max_size=8),
)
def test_ready_follows_from_its_sources_and_an_echo_changes_nothing(
    model: Model, steps: list[tuple[str, Any]]
) -> None:
    run = Run(model)
    run.check()
    for what, value in steps:
        before = conditions_of(run.pod)["Ready"]
        run.step(what, value)
        run.check()
        after = conditions_of(run.pod)["Ready"]
        moved = after["lastTransitionTime"] != before["lastTransitionTime"]
        assert moved is (after["status"] != before["status"])


def test_a_client_says_since_when() -> None:
    pod = with_conditions(made(), None, "2026-01-01T00:00:00Z")
    since = {"type": "Ready", "status": "False", "lastTransitionTime": "2025-01-01T00:00:00Z", "reason": "R"}
    body = {**pod, "status": {**pod["status"], "conditions": [since]}}
    found = conditions_of(with_conditions(kept(pod, body), pod, "2026-01-01T00:00:01Z"))
    assert found["Ready"] == since
    assert found["svcdns.io/Reported"] == {**since, "type": "svcdns.io/Reported"}


def test_what_a_strategic_patch_leaves_out_stays_as_the_client_said_it() -> None:
    pod = with_conditions(made(), None, "2026-01-01T00:00:00Z")
    said = {"type": "Ready", "status": "False", "reason": "Disk", "message": "swap"}
    pod = with_conditions(
        kept(pod, written(pod) | {"status": {**pod["status"], "conditions": [said]}}), pod, "b"
    )
    ready = conditions_of(with_conditions(kept(pod, by_type(pod, "True")), pod, "c"))["Ready"]
    assert ready == {**said, "status": "True", "lastTransitionTime": "c"}


def test_a_result_is_about_the_probe_and_the_address_it_was_found_at() -> None:
    pod = with_conditions(made("tcp"), None, "a")
    pod = with_conditions(kept(pod, written(pod, probe="True")), pod, "b")
    assert is_ready(pod)
    moved = {**pod, "status": {**pod["status"], "podIP": "10.0.0.2"}}
    assert not is_ready(with_conditions(kept(pod, moved), pod, "c"))
    other = {**pod, "spec": made("exec")["spec"]}
    assert not is_ready(with_conditions(kept(pod, other), pod, "c"))
    without = {**pod, "spec": made()["spec"]}
    assert "svcdns.io/Probe" not in conditions_of(with_conditions(kept(pod, without), pod, "c"))


def test_a_pod_of_an_older_version_stays_as_ready_as_it_was() -> None:
    told = [{"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}]
    for probes in PROBES:
        pod = brought_up_to_date(made(probes, gate=True, conditions=told), "now")
        assert is_ready(pod), probes
        assert conditions_of(pod)["Ready"]["lastTransitionTime"] == "2026-01-01T00:00:00Z"
        assert brought_up_to_date(pod, "later") == pod
    assert not is_ready(brought_up_to_date(made("tcp"), "now"))
    assumed = [{"type": "Ready", "status": "True", "reason": "AssumedReady", "lastTransitionTime": "a"}]
    found = conditions_of(brought_up_to_date(made(conditions=assumed), "now"))
    assert found["Ready"] == assumed[0] and "svcdns.io/Reported" not in found


def test_a_pod_that_was_written_out_comes_back_with_what_was_reported() -> None:
    pod = with_conditions(made(gate=True), None, "a")
    pod = with_conditions(kept(pod, written(pod, ready="True")), pod, "b")
    again = with_conditions({**made(gate=True), "status": pod["status"]}, None, "c")
    assert conditions_of(again)["svcdns.io/Reported"]["status"] == "True"
    assert conditions_of(again)["Ready"]["reason"] == "ReadinessGatesNotReady"
