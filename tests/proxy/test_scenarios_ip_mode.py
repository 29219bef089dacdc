"""Load balancer addresses that somebody else gives, and forwards or not (ipMode)."""

import pytest
from proxy.site import CARRIERS, SERVICES, Site
from toolbox.lab import Lab, Machine

MERGE = "application/merge-patch+json"


@pytest.mark.soak
@pytest.mark.parametrize("carrier", CARRIERS)
def test_an_address_with_ip_mode_proxy_is_left_to_who_it_names(lab: Lab, carrier: str) -> None:
    addresses = {"VIP": "192.168.77.240", "Proxy": "192.168.77.241"}
    clients = (lab.client, lab.b1, lab.node)
    with Site(lab, carrier, balances=False) as site:
        for mode, address in reversed(addresses.items()):
            name = mode.lower()
            site.service(name, [lab.a1], type="LoadBalancer")
            status = {"status": {"loadBalancer": {"ingress": [{"ip": address, "ipMode": mode}]}}}
            shown = site.done("PATCH", f"{SERVICES}/{name}/status", status, content_type=MERGE)
            assert shown["status"]["loadBalancer"]["ingress"] == [{"ip": address, "ipMode": mode}]
        for client in clients:
            site.reaches(client, "tcp", addresses["VIP"], 80, {"a1"})
        assert not any(_reached(client, addresses["Proxy"]) for client in clients)


def _reached(client: Machine, address: str) -> bool:
    try:
        return bool(client.ask("tcp", address, 80, seconds=0.5).who)
    except OSError:
        return False
