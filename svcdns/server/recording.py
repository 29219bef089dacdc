"""What a worker, or the forwarder, records its questions with."""

from __future__ import annotations

from svcdns.config.sections import Config
from svcdns.tap.recorder import Recorder

from .child_setup import Handoff
from .tapping import of_descriptor, sampling


def recorder_of(handoff: Handoff, config: Config, ring: int, by: int) -> Recorder:
    """Return it; `by` is a word of svcdns.tap.recorder."""
    tap = of_descriptor(handoff.tapping)
    return Recorder(tap.ring(ring), by, sampling(config, tap)) if tap is not None else Recorder()
