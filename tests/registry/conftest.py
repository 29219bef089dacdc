"""Fixtures of the registry's tests; `run` is one of toolbox/registry_harness.py."""

from registry.recorded_events import at_once

__all__ = ["at_once"]
