"""Two hosts whose proxies have been given one name of a node: one carries on, the other says so and ends."""

import signal

from proxy.announcing_nodes import Announcing
from toolbox.lab import Lab
from toolbox.waiting import wait_for

LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"


def test_the_second_proxy_of_a_name_ends_unless_the_first_is_gone(lab: Lab, may_change_rules: None) -> None:
    with Announcing(lab) as announcing:

        def holder() -> str:
            found = announcing.request("GET", LEASES)["items"]
            return str(found[0]["spec"].get("holderIdentity", "")) if found else ""

        announcing.start("node")
        first = wait_for(holder, "the first one to hold the name")
        announcing.start("second", node="node")
        assert announcing.ended("second") == 1
        said = announcing.log("second").splitlines()[-1]
        assert first in said
        assert "--node" in said
        assert holder() == first

        announcing.end("node", signal.SIGKILL)
        announcing.start("node")
        wait_for(lambda: announcing.log("node").count("traffic is carried") == 2, "it to be back")
        assert "alive" not in announcing.log("node"), "it has waited for itself"
        announcing.end("node", signal.SIGKILL)
        announcing.start("second", node="node")
        wait_for(lambda: holder() not in ("", first), "the second one to follow the first")
