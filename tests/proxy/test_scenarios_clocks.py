"""A host's clock is set by an hour, either way: no address changes hosts, and no name of a node is lost.

By libfaketime, which reads what the clock is to say from a file, and leaves the monotonic clock alone.
"""

import os
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest
from proxy.announcing_nodes import Announcing, answered, shares
from toolbox.lab import Lab
from toolbox.waiting import wait_for

LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
_LIBRARIES = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))


class Clock:
    """What the proxy of a node takes for the time."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "clock"
        self.set("+0")
        self.environ = {
            "LD_PRELOAD": str(_LIBRARIES[0]),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "DONT_FAKE_MONOTONIC": "1",
            "FAKETIME_NO_CACHE": "1",
        }

    def set(self, offset: str) -> None:
        """Set it off, as faketime writes it: +1h."""
        new = self._file.with_suffix(".new")
        new.write_text(f"{offset}\n")
        os.replace(new, self._file)


@pytest.fixture
def announcing(lab: Lab, may_change_rules: None) -> Iterator[Announcing]:
    with Announcing(lab) as made:
        yield made


@pytest.mark.soak
@pytest.mark.skipif(not _LIBRARIES, reason="libfaketime is not here")
def test_nothing_fails_over_when_a_clock_is_set(announcing: Announcing, tmp_path: Path) -> None:
    addresses = [one for number in range(3) for one in announcing.service(f"web{number}")]
    both, clock = shares(addresses), Clock(tmp_path)
    announcing.start("node")
    announcing.start("second", environ=clock.environ)
    answered(announcing, both)

    def renewals() -> dict[str, str]:
        found = announcing.request("GET", LEASES)["items"]
        return {one["metadata"]["name"]: one["spec"]["renewTime"] for one in found}

    def ahead(found: dict[str, str]) -> float:
        """By how many seconds the second one's clock is ahead."""
        second, node = (datetime.fromisoformat(found[one]) for one in ("second", "node"))
        return (second - node).total_seconds()

    before = announcing.log("node").count("\n"), announcing.log("second").count("\n")
    with announcing.never_two(addresses):
        for offset, hours in (("+1h", 1), ("-1h", -1), ("+0", 0)):
            clock.set(offset)
            for _ in range(8):  # so many renewals take longer than a Lease lasts
                known = renewals()
                wait_for(lambda known=known: all(renewals()[one] != known[one] for one in known), "renewals")
                assert {one: announcing.who_answers(one) for one in addresses} == both
            assert round(ahead(renewals()) / 3600) == hours, "its clock was not set"
    after = announcing.log("node").count("\n"), announcing.log("second").count("\n")
    assert after == before, "somebody has noticed"
