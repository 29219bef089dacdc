"""What a reader of the published counters must know (see `process`); /metrics loads no more of this room."""

from __future__ import annotations

ALIVE_SECONDS = 10.0
"""Counters are shown so often in any case: who reads older ones knows that this process is gone."""
LAG_BOUNDS = (0.05, 0.1, 0.2, 0.3, 0.5, 1.0, 2.0, 5.0)
"""Seconds from an event to the acknowledged write."""
