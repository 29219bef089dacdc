"""The clock of one replica jumps by an hour: its lease, whose work is whose, and its tokens go on.

Another wall clock is read by its processes alone (`toolbox.shifted_clock`); `test_site_faults` has jumps of
days among other faults.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from replicas.test_servers import addresses, replicas_of
from toolbox.builders import headless, pod
from toolbox.calls import PODS, SERVICES
from toolbox.etcd_access import AS_ADMINISTRATOR, have_user, tokens_that_end
from toolbox.on_etcd import PATIENCE_SECONDS
from toolbox.running_etcd import RunningEtcd
from toolbox.running_server import RunningServer
from toolbox.shifted_clock import Clock
from toolbox.waiting import wait_for

from svcdns.registry.replicated.living import LEASE_SECONDS

HOUR = 3600


@contextmanager
def pair(folder: Path, clock: Clock) -> Iterator[tuple[RunningServer, RunningServer]]:
    """Give two replicas, the first with a clock that can be set; the tokens of their etcd soon run out."""
    (folder / "password").write_text("secret")
    with RunningEtcd(options=tokens_that_end(folder, 2), more=AS_ADMINISTRATOR) as etcd:
        have_user(etcd, "secret")
        config = (
            f'[store]\netcd = ["{etcd.endpoints[0]}"]\n'
            f"etcd_timeout_ms = {PATIENCE_SECONDS * 1000}\n"
            f'etcd_user = "svcdns"\netcd_password_file = "{folder / "password"}"\n'
        )
        with (
            RunningServer(workers=1, config=config, environ=clock.environ) as a,
            RunningServer(workers=1, config=config) as b,
        ):
            yield a, b


def test_a_clock_that_jumps_by_an_hour_is_no_matter_to_replicas(
    need: Callable[..., str], tmp_path: Path
) -> None:
    need("etcd")
    clock = Clock(tmp_path, need("gcc"))
    with pair(tmp_path, clock) as (a, b):
        wait_for(lambda: len(replicas_of(a)) == 2 == len(replicas_of(b)), "them to know each other")
        living = sorted(replicas_of(a))
        a.post(f"{SERVICES}?waitFor=all", headless("web"))
        expected: set[str] = set()

        def create(at: RunningServer) -> datetime:
            """Have a Pod more; return when it was created, as it says."""
            number = len(expected) + 1
            ready = pod(f"web-{number}", f"10.1.0.{number}", ready=True)
            made = at.post(f"{PODS}?waitFor=all", ready)
            assert made.status == 201 and made.headers.get("Warning") is None, made.text
            expected.add(f"10.1.0.{number}")
            return datetime.fromisoformat(made.json["metadata"]["creationTimestamp"])

        for jump in (HOUR, -HOUR, 0):
            clock.set(jump)
            off = (create(a) - datetime.now(UTC)).total_seconds()
            assert abs(off - jump) < HOUR / 4, "it has jumped"
            create(b)
            later = time.monotonic() + LEASE_SECONDS + 1
            wait_for(lambda later=later: time.monotonic() > later, "leases to end that are not kept")
            assert sorted(replicas_of(a)) == living == sorted(replicas_of(b))
            for one in (a, b):
                create(one)
                assert "etcd" not in one.get("/readyz?verbose").text
                assert addresses(one) == expected
        for one in (a, b):
            assert "can't be used" not in one.log() and "has gone" not in one.log()
