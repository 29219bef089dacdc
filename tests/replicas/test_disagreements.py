"""What stands at a prefix is of another registry, or another svcdns: refused, with both sides named."""

import json
from ipaddress import ip_network

import pytest
from replicas.replicas_harness import Replicas
from toolbox.builders import service

from svcdns.config.sections import Config, ServicesConfig
from svcdns.objects.kinds import SERVICE
from svcdns.registry.replicated import Disagreement


def config(domain: str = "cluster.local", *ranges: str) -> Config:
    of = ServicesConfig(cluster_ip_ranges=tuple(map(ip_network, ranges))) if ranges else ServicesConfig()
    return Config(cluster_domain=domain, services=of)


async def refused(replicas: Replicas, name: str, wanted: Config) -> str:
    """Return why a replica does not start."""
    with pytest.raises(Disagreement) as found:
        async with replicas.replica(name, wanted):
            pass
    return str(found.value)


async def test_two_clusters_on_one_prefix_are_refused_with_all_in_which_they_differ(
    replicas: Replicas,
) -> None:
    async with replicas.replica("a", config("a.test", "10.1.0.0/16")) as a:
        await a.create(service("web"))
        why = await refused(replicas, "b", config("b.test", "10.2.0.0/16", "fd00:2::/108"))
        assert "cluster_domain: a.test in etcd, b.test here" in why
        assert "10.1.0.0/16" in why and "10.2.0.0/16" in why and "fd00:2::/108" in why
        assert f"{replicas.prefix}layout" in why and "store.etcd_prefix" in why
        assert a.names(SERVICE) == ["web"] and not a.registry.trouble


async def test_a_replica_whose_ranges_alone_were_changed_is_refused_until_it_has_the_old_ones(
    replicas: Replicas,
) -> None:
    old = config("cluster.local", "10.1.0.0/16")
    async with replicas.replica("a", old) as a, replicas.replica("b", old) as b:
        made = await b.create(service("web"))
        await a.shows_what(b)
    async with replicas.replica("a", old):
        why = await refused(replicas, "b", config("cluster.local", "10.1.0.0/16", "fd00::/108"))
        assert "cluster_domain" not in why
        assert "ranges of addresses and ports" in why and "fd00::/108" in why
        async with replicas.replica("b", old) as b:
            assert b.get(SERVICE, "web") == made, "its map was left as it is"


@pytest.mark.parametrize(
    ("layout", "said"),
    [
        ('{"layout": 2, "shards": 7}', "says layout 2, this svcdns has 1: start the svcdns that wrote it"),
        ('{"layout": 0}', "says layout 0, this svcdns has 1"),
        ("", "is not what svcdns writes there"),
        ("[]", "is not what svcdns writes there"),
        ('{"layout": 1}', "is not what svcdns writes there"),
        ('{"layout": "1"}', "is not what svcdns writes there"),
        ("\xff", "is not what svcdns writes there"),
    ],
)
async def test_a_prefix_of_another_layout_is_refused_and_left_as_it_is(
    replicas: Replicas, layout: str, said: str
) -> None:
    key = f"{replicas.prefix}layout"
    replicas.etcd.ctl("put", key, layout)
    why = await refused(replicas, "a", Config())
    assert f"{key} in etcd {said}" in why
    assert json.loads(replicas.etcd.ctl("get", replicas.prefix, "--prefix", "-w", "json"))["count"] == 1
    assert replicas.etcd.ctl("get", key, "--print-value-only").rstrip("\n") == layout
