"""A UDP flow whose endpoint leaves: what every engine does with it."""

from proxy.site import PODS, Site, answering
from toolbox.lab import Lab, ask_again
from toolbox.waiting import wait_for


def stays_while_its_endpoint_serves(site: Site, lab: Lab) -> None:
    """A flow stays with an endpoint that terminates and serves, and moves when that is gone."""
    web = site.service("drained")
    site.pod("drained", lab.a1, lingers=True)
    place = (web.cluster_ip(4), 80)
    site.reaches(lab.client, "udp", *place, {"a1"})
    with lab.client.connect("udp", *place) as client:
        assert ask_again(client).who == "a1"
        for host in (lab.b1, lab.b2):
            site.pod("drained", host)
        site.done("DELETE", f"{PODS}/drained-a1")
        site.reaches(lab.client, "udp", *place, {"b1", "b2"})
        with site.flow(lab.client, *place, "b2") as other:
            site.set_ready("drained", lab.b2, False)
            wait_for(lambda: answering(other) == "b1", "the other flow to move")
        assert answering(client) == "a1"
        site.let_go("drained", lab.a1)
        wait_for(lambda: answering(client) == "b1", "the flow to move")
