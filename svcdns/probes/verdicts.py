"""From single results to a verdict, as the kubelet does it: thresholds, and startup before readiness.

Pure, and without a clock.  One `ContainerVerdict` for each container, one `verdict` for the Pod.
https://kubernetes.io/docs/tasks/configure-pod-container/configure-liveness-readiness-startup-probes/
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from .specs import ContainerProbes, NotRun, Probe

STARTING, FAILING, NOT_RUN, PASSING = "ProbeStarting", "ProbeFailed", "ProbeNotRun", "ProbeSucceeded"
"""Reasons of the condition."""
_LONGEST = 400
"""Characters of what a failed probe said that are kept."""


class Outcome(NamedTuple):
    """What one probe came to; `text` says what was seen, for people."""

    success: bool
    text: str = ""


class Verdict(NamedTuple):
    """What the condition of a Pod says."""

    ready: bool
    reason: str
    message: str


@dataclass(slots=True)
class _Counted:
    """How one probe has fared: it changes its mind only when a threshold is reached."""

    probe: Probe
    passed: bool
    row: int = 0
    """How often the last outcome came in a row; negative for failures."""
    text: str = ""

    def add(self, outcome: Outcome) -> None:
        if outcome.success:
            self.row = max(self.row, 0) + 1
            self.passed = self.passed or self.row >= self.probe.success_threshold
            if self.passed:
                self.text = ""
        else:
            self.row = min(self.row, 0) - 1
            self.text = outcome.text[:_LONGEST]
            if -self.row >= self.probe.failure_threshold:
                self.passed = False


@dataclass(slots=True)
class ContainerVerdict:
    """One container: which of its probes is due, and whether it is ready."""

    probes: ContainerProbes
    was_ready: bool = False
    """Whether its Pod was ready before this process began: then it stays so until the thresholds say else."""
    _startup: _Counted | None = field(init=False)
    _readiness: _Counted | None = field(init=False)

    def __post_init__(self) -> None:
        """Begin: a readiness probe has not passed, unless it had before."""
        startup, readiness = self.probes.startup, self.probes.readiness
        self._startup = _Counted(startup, self.was_ready) if startup else None
        self._readiness = _Counted(readiness, self.was_ready) if readiness else None

    @property
    def due(self) -> Probe | None:
        """Return the probe that is to be run now; None: there is nothing left to be found out."""
        counted = self._counted()
        return counted.probe if counted else None

    def add(self, probe: Probe, outcome: Outcome) -> None:
        """Count what the probe that was due came to; one that is due no more is forgotten."""
        counted = self._counted()
        if counted is not None and counted.probe is probe:
            counted.add(outcome)

    def verdict(self) -> Verdict:
        """Return what is known of this container."""
        name = self.probes.container
        counted = self._counted()
        if counted is None or (counted is self._readiness and counted.passed):
            return Verdict(True, PASSING, "")
        kind = "startup" if counted is self._startup else "readiness"
        if isinstance(counted.probe.check, NotRun):
            return Verdict(False, NOT_RUN, f"container {name}: {counted.probe.check.why}")
        if not counted.text:
            return Verdict(False, STARTING, f"container {name}: its {kind} probe has not succeeded yet")
        return Verdict(False, FAILING, f"container {name}: {kind} probe failed: {counted.text}")

    def _counted(self) -> _Counted | None:
        if self._startup is not None and not self._startup.passed:
            return self._startup
        return self._readiness


def verdict(containers: Iterable[ContainerVerdict]) -> Verdict:
    """Return the verdict about a Pod: that of the first container that is not ready."""
    every = [container.verdict() for container in containers]
    return next((one for one in every if not one.ready), Verdict(True, PASSING, _of_all(len(every))))


def _of_all(containers: int) -> str:
    return "" if containers == 1 else f"the probes of all {containers} containers succeed"
