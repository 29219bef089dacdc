"""The row of a Pod: what Kubernetes' printPod makes of container statuses, conditions and phase.

Where nobody has reported container statuses (there is no kubelet here), Ready counts all containers
of a Pod that is ready and has an address, and none of any other.
"""

from __future__ import annotations

from typing import Any

from svcdns.cluster.readiness import addresses, is_finished, is_ready

from .humanize import age_of, since

Object = dict[str, Any]


def of_pod(obj: Object, now: float) -> list[str]:
    """Name, Ready, Status, Restarts, Age; wide: IP, Node, Nominated Node, Readiness Gates."""
    metadata, spec, status = obj.get("metadata") or {}, obj.get("spec") or {}, obj.get("status") or {}
    return [
        str(metadata.get("name", "")),
        _ready(metadata, spec, status),
        _status(metadata, spec, status),
        _restarts(spec, status, now),
        age_of(obj, now),
        _address(status),
        spec.get("nodeName") or "<none>",
        status.get("nominatedNodeName") or "<none>",
        _gates(spec, status),
    ]


def _conditions(status: Object) -> dict[str, Object]:
    return {entry.get("type", ""): entry for entry in status.get("conditions") or []}


def _holds(status: Object, condition: str) -> bool:
    return _conditions(status).get(condition, {}).get("status") == "True"


def _sidecars(spec: Object) -> set[str]:
    """Names of init containers that keep running (restartPolicy Always)."""
    listed = spec.get("initContainers") or []
    return {entry.get("name", "") for entry in listed if entry.get("restartPolicy") == "Always"}


def _ready(metadata: Object, spec: Object, status: Object) -> str:
    sidecars = _sidecars(spec)
    total = len(spec.get("containers") or []) + len(sidecars)
    reported = status.get("containerStatuses")
    if not reported:
        pod = {"metadata": metadata, "spec": spec, "status": status}
        runs = addresses(pod) and not is_finished(pod)
        return f"{total if runs and is_ready(pod) else 0}/{total}"
    ready = sum(1 for entry in reported if entry.get("ready") and _state(entry, "running") is not None)
    for entry in status.get("initContainerStatuses") or []:
        if entry.get("name") in sidecars and entry.get("started") and entry.get("ready"):
            ready += 1
    return f"{ready}/{total}"


def _state(container: Object, word: str) -> Object | None:
    found: Object | None = (container.get("state") or {}).get(word)
    return found


def _status(metadata: Object, spec: Object, status: Object) -> str:
    phase = status.get("phase") or ""
    reason = status.get("reason") or phase
    if _conditions(status).get("PodScheduled", {}).get("reason") == "SchedulingGated":
        reason = "SchedulingGated"
    initializing = _init_reason(spec, status)
    if initializing:
        reason = initializing
    if not initializing or _holds(status, "Initialized"):
        reason = _containers_reason(status, reason)
    if metadata.get("deletionTimestamp"):
        if status.get("reason") == "NodeLost":
            return "Unknown"
        if phase not in ("Succeeded", "Failed"):
            return "Terminating"
    return str(reason)


def _ended(state: Object) -> str:
    if state.get("reason"):
        return str(state["reason"])
    if state.get("signal"):
        return f"Signal:{state['signal']}"
    return f"ExitCode:{state.get('exitCode', 0)}"


def _init_reason(spec: Object, status: Object) -> str:
    """What the first unfinished init container waits for; "" when all are done."""
    sidecars = _sidecars(spec)
    for index, container in enumerate(status.get("initContainerStatuses") or []):
        terminated, waiting = _state(container, "terminated"), _state(container, "waiting")
        if terminated is not None and not terminated.get("exitCode"):
            continue
        if container.get("name") in sidecars and container.get("started"):
            continue
        if terminated is not None:
            return f"Init:{_ended(terminated)}"
        if waiting and waiting.get("reason") not in (None, "", "PodInitializing"):
            return f"Init:{waiting['reason']}"
        return f"Init:{index}/{len(spec.get('initContainers') or [])}"
    return ""


def _containers_reason(status: Object, reason: str) -> str:
    running = False
    for container in reversed(status.get("containerStatuses") or []):
        waiting, terminated = _state(container, "waiting"), _state(container, "terminated")
        if waiting and waiting.get("reason"):
            reason = str(waiting["reason"])
        elif terminated is not None:
            reason = _ended(terminated)
        elif container.get("ready") and _state(container, "running") is not None:
            running = True
    if reason == "Completed" and running:
        return "Running" if _holds(status, "Ready") else "NotReady"
    return reason


def _restarts(spec: Object, status: Object, now: float) -> str:
    done = not _init_reason(spec, status) or _holds(status, "Initialized")
    counted = [
        e for e in status.get("initContainerStatuses") or [] if not done or e.get("name") in _sidecars(spec)
    ]
    if done:
        counted += status.get("containerStatuses") or []
    restarts = sum(entry.get("restartCount") or 0 for entry in counted)
    ended = [((entry.get("lastState") or {}).get("terminated") or {}).get("finishedAt") for entry in counted]
    last = max((moment for moment in ended if moment), default=None)
    return f"{restarts} ({since(last, now)} ago)" if restarts and last else str(restarts)


def _address(status: Object) -> str:
    listed = [entry.get("ip") for entry in status.get("podIPs") or []] or [status.get("podIP")]
    return listed[0] or "<none>"


def _gates(spec: Object, status: Object) -> str:
    gates = [gate.get("conditionType", "") for gate in spec.get("readinessGates") or []]
    if not gates:
        return "<none>"
    return f"{sum(_holds(status, gate) for gate in gates)}/{len(gates)}"
