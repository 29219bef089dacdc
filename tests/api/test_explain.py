"""GET /svcdns/v1/explain: what a name answers, and why not more."""

from collections.abc import Iterator
from typing import Any

import pytest
from behaviour.cluster_harness import ClusterHarness, config
from behaviour.objects import Object, endpoint, endpoint_slice, external, headless, pod, service

from svcdns.cluster import reasons
from svcdns.objects.kinds import ENDPOINTS, NAMESPACE, POD
from svcdns.registry.explain import Explanation

WITHOUT_ADDRESS = (POD, "default", {"metadata": {"name": "p", "labels": {"app": "db"}}})


@pytest.fixture
def world(tmp_path: Any) -> Iterator[ClusterHarness]:
    made = ClusterHarness(tmp_path, config())
    yield made
    made.close()


def explained(world: ClusterHarness, name: str, *objects: Object, namespace: str = "default") -> Explanation:
    world.add(*objects)
    return world.registry.explain(name, namespace)


@pytest.mark.parametrize(
    "name",
    [
        "db",
        "db.default",
        "db.default.svc",
        "db.default.svc.cluster.local",
        "db.default.cluster.local.",
        "DB.Default.SVC.cluster.local.",
    ],
)
def test_names_may_be_written_as_people_write_them(world: ClusterHarness, name: str) -> None:
    found = explained(world, name, headless("db"), pod("p", "10.1.0.1", app="db"))
    assert found.name == "db.default.svc.cluster.local."
    assert found.answers == ["10.1.0.1"]
    assert found.objects[0] == "Service default/db"
    assert found.reasons == []


def test_what_the_answer_says_is_what_dns_says(world: ClusterHarness) -> None:
    many = [pod(f"p{n}", f"10.1.{n // 250}.{n % 250 + 1}", app="db") for n in range(600)]
    found = explained(world, "db", headless("db"), external("out", "www.example.org"), *many)
    assert len(found.answers) == 100, "the first hundred"
    assert set(found.answers) <= set(world.ask("db.default.svc.cluster.local", tcp=True).rdata)
    assert world.registry.explain("out", "default").answers == ["www.example.org."]


@pytest.mark.parametrize(
    ("objects", "expected"),
    [
        ([pod("p", "10.1.0.1", app="bd")], "selector app=db matches no Pod; Pod p has app=bd"),
        ([WITHOUT_ADDRESS], reasons.without_address("p")),
        ([pod("p", "10.1.0.1", app="db", ready=False)], "Pod p is not ready: svcdns ready p"),
        ([pod("p", "10.1.0.1", app="db", phase="Succeeded")], "Pod p has ended: its phase is Succeeded"),
        ([], "selector app=db matches no Pod; no Pod of the namespace has labels"),
    ],
)
def test_why_a_service_has_no_endpoints(world: ClusterHarness, objects: list[Object], expected: str) -> None:
    found = explained(world, "db", headless("db"), *objects)
    assert found.answers == []
    assert found.reasons == [expected]


def test_a_pod_that_is_leaving(world: ClusterHarness) -> None:
    world.add(headless("db"), pod("p", "10.1.0.1", app="db"))
    world.remove(POD, "p", grace=3600)
    (reason,) = world.registry.explain("db", "default").reasons
    assert reason.startswith("Pod p is leaving: it was deleted at ")


def test_many_pods_are_counted(world: ClusterHarness) -> None:
    pods = [pod(f"p{n:02}", f"10.1.0.{n + 1}", app="db", ready=False) for n in range(30)]
    found = explained(world, "db", headless("db"), *pods)
    assert len(found.reasons) == 11
    assert found.reasons[-1] == "and 20 more Pods"


def test_a_cluster_ip_with_nothing_behind_it(world: ClusterHarness) -> None:
    found = explained(world, "web", service("web"), pod("p", "10.1.0.1", app="web", ready=False))
    assert found.answers
    assert found.reasons[0] == "the cluster IP is answered, but no endpoint is ready behind it"


def test_a_service_without_selector(world: ClusterHarness) -> None:
    found = explained(world, "db", headless("db", selector={}))
    assert "has no selector and no EndpointSlice" in found.reasons[0]
    world.add(endpoint_slice("db-1", "db", endpoint("10.1.0.1")))
    assert world.registry.explain("db", "default").reasons == []


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("dbb", "namespace default has no Service dbb; did you mean db?"),
        ("db.defalt.svc", "namespace defalt is not there; did you mean default?"),
        ("web", "namespace default has no Service web; there is one in namespace shop: web.shop.svc"),
        ("_htp._tcp.db", "Service db has no port _htp._tcp (named ports: _http._tcp)"),
        ("nope.db.default.svc", "Service db has no ready endpoint nope"),
        (
            "www.example.org",
            "www.example.org. is not below cluster.local.: zone files and upstreams answer for it",
        ),
    ],
)
def test_a_name_that_is_not_there(world: ClusterHarness, name: str, expected: str) -> None:
    world.run(world.registry.create(NAMESPACE, "", {"metadata": {"name": "shop"}}, _write()))
    objects = [headless("db"), pod("p", "10.1.0.1", app="db"), service("web", ns="shop")]
    assert explained(world, name, *objects).reasons == [expected]


def _write() -> Any:
    from svcdns.registry.requests import WriteOptions

    return WriteOptions()


def test_a_pod_by_its_name(world: ClusterHarness) -> None:
    found = explained(
        world, "p", headless("db"), pod("p", "10.1.0.1", app="db"), pod("q", "10.1.0.2", app="x")
    )
    assert found.objects == ["Pod default/p", "Service default/db"]
    assert found.answers == ["10.1.0.1"]
    assert world.registry.explain("q", "default").reasons == [
        "no Service selects Pod q; its labels are app=x"
    ]


def test_endpoints_that_somebody_wrote(world: ClusterHarness) -> None:
    written = {"metadata": {"name": "db"}, "subsets": [{"addresses": [{"ip": "10.1.0.1"}]}]}
    found = explained(world, "db", headless("db", selector={}), (ENDPOINTS, "default", written))
    assert (found.answers, found.reasons) == (["10.1.0.1"], [])
    assert found.objects[0] == "Service default/db" and found.objects[-1] == "Endpoints default/db"


def test_a_reverse_name_leads_to_its_names(world: ClusterHarness) -> None:
    found = explained(world, "80.0.96.10.in-addr.arpa", service("web", clusterIP="10.96.0.80"))
    assert found.answers == ["web.default.svc.cluster.local."]
    none = world.registry.explain("81.0.96.10.in-addr.arpa", "default")
    assert (none.answers, none.reasons) == ([], []), "it is in a zone of ours, not with others"
