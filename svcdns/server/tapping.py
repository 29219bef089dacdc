"""The tap of a server: whether there is one, and one of how many questions is recorded.

The supervisor makes it with the counters, and hands it to the workers and the forwarder, who write, and to
the observer and the writer, who read.  Standard library only.
"""

from __future__ import annotations

from collections.abc import Callable

from svcdns.config.sections import Config
from svcdns.config.seeing import ALWAYS, NEVER, ON_DEMAND, DnstapConfig, QueryLogConfig
from svcdns.tap.memory import Tap, TapError


def is_wanted(config: Config) -> bool:
    """Return whether anything may ever be recorded."""
    return config.tap.record != NEVER or bool(config.query_log.path or config.dnstap.to)


def is_always_wanted(config: Config) -> bool:
    """Return whether something is recorded also while nobody looks."""
    return config.tap.record == ALWAYS or bool(config.query_log.path or config.dnstap.to)


def create(config: Config, workers: int) -> Tap | None:
    """Make the tap that a configuration wants, if any.  Raises OSError."""
    return Tap.create(workers + 1, config.tap.octets) if is_wanted(config) else None


def of_descriptor(descriptor: int) -> Tap | None:
    """Return the tap behind an inherited descriptor; None for none (-1), or one of another version's
    shape."""
    try:
        return Tap(descriptor) if descriptor >= 0 else None
    except TapError:
        return None


def there(descriptor: int) -> tuple[int, ...]:
    """Return the descriptor, () for none (-1)."""
    return (descriptor,) if descriptor >= 0 else ()


def descriptor_of(tap: Tap | None) -> int:
    """Return its descriptor, -1 for none."""
    return tap.descriptor if tap is not None else -1


def sampling(config: Config, tap: Tap | None) -> Callable[[], int]:
    """Return what says one of how many questions is to be recorded now; 0: none."""
    wishes = [one.sample for one, to in _logs(config) if to]
    if config.tap.record == ALWAYS:
        wishes.append(config.tap.sample)
    always = min(wishes, default=0)
    looked_at = min((*wishes, config.tap.sample)) if config.tap.record == ON_DEMAND else always

    def wanted() -> int:
        return looked_at if tap is not None and looked_at != always and tap.is_looked_at else always

    return wanted


def next_of(before: Tap | None, config: Config, workers: int) -> Tap | None:
    """Make the tap of the processes that follow others in an upgrade, which counts on.  Raises OSError."""
    tap = create(config, workers)
    if tap is not None and before is not None:
        tap.go_on_from(before)
    return tap


def _logs(config: Config) -> tuple[tuple[QueryLogConfig | DnstapConfig, str], ...]:
    return (config.query_log, config.query_log.path), (config.dnstap, config.dnstap.to)
