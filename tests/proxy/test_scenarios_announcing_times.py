"""Two hosts that share load balancer addresses, with the times that users have: fifteen seconds a Lease."""

import signal

import pytest
from proxy.announcing_nodes import Announcing, answered, shares
from toolbox.lab import Lab


@pytest.mark.soak
def test_the_same_with_the_times_that_users_have(lab: Lab, may_change_rules: None) -> None:
    with Announcing(lab, short=False) as announcing:
        addresses = [one for number in range(4) for one in announcing.service(f"web{number}")]
        both, one_only = shares(addresses), shares(addresses, ("node",))
        announcing.start("node")
        answered(announcing, one_only)
        with announcing.never_two(addresses):
            announcing.start("second")
            answered(announcing, both)
            announcing.end("second", signal.SIGKILL)
            answered(announcing, one_only)
            announcing.start("second")
            answered(announcing, both)
            announcing.cut_off("second")
            answered(announcing, one_only)
            announcing.join_again("second")
            answered(announcing, both)
