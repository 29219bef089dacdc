"""All containers of an engine in, objects and reasons out."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from svcdns.config.container_engines import ContainerEngine
from svcdns.objects import syntax
from svcdns.objects.kinds import POD, SERVICE
from svcdns.sources.containers.engine_objects import Attached, Container, ExposedPort
from svcdns.sources.containers.members import dns_label
from svcdns.sources.containers.plan import Key, Plan, plan

ENGINE = ContainerEngine("unix:///run/docker.sock")


def container(
    name: str,
    compose: tuple[str, str, int] | None = None,
    labels: dict[str, str] | None = None,
    address: str = "10.0.0.2",
    **more: Any,
) -> Container:
    words = {f"svcdns.io/{word}": text for word, text in (labels or {}).items()}
    if compose is not None:
        names = ("project", "service", "container-number")
        words |= {f"com.docker.compose.{word}": str(v) for word, v in zip(names, compose, strict=True)}
    usual = {"state": "running", "health": "", "networks": (Attached("bridge", address),)}
    return Container(more.pop("id", name), name, labels=words | more.pop("raw", {}), **{**usual, **more})


def planned(*containers: Container, **options: Any) -> Plan:
    return plan(containers, replace(ENGINE, **options), "left")


def names(made: Plan) -> list[str]:
    return sorted(str(key) for key in made.objects)


def reasons(made: Plan) -> dict[str, str]:
    return {one.container.name: one.reason for one in made.outcomes}


def pod(made: Plan, where: str) -> dict[str, Any]:
    namespace, name = where.split("/")
    return made.objects[Key(POD, namespace, name)]


def service(made: Plan, where: str) -> dict[str, Any]:
    namespace, name = where.split("/")
    return made.objects[Key(SERVICE, namespace, name)]


def test_a_compose_project_is_a_namespace_and_replicas_have_their_numbers() -> None:
    """compose#677, #1131, #9153: the number in the host name; numbers may have gaps."""
    made = planned(
        container("my_app-db-1", ("my_app", "db", 1)), container("my_app-db-7", ("my_app", "db", 7))
    )
    assert names(made) == ["Pod my-app/db-1", "Pod my-app/db-7", "Service my-app/db"]
    assert pod(made, "my-app/db-7")["spec"] | {"containers": []} == {
        "containers": [],
        "hostname": "db-7",
        "subdomain": "db",
    }
    assert service(made, "my-app/db")["spec"]["clusterIP"] == "None"
    selector = service(made, "my-app/db")["spec"]["selector"]
    assert selector.items() <= pod(made, "my-app/db-7")["metadata"]["labels"].items()


def test_a_container_of_its_own_is_in_default_under_its_name() -> None:
    assert names(planned(container("Web_1"))) == ["Pod default/web-1", "Service default/web-1"]


def test_what_compose_renames_while_it_recreates_keeps_its_names() -> None:
    """compose#4834, #1573, #10460: of two that carry number 1 the one that started last has the name."""
    old = container("0a1b_shop-db-1", ("shop", "db", 1), address="10.0.0.2", started="2026-01-01T00:00:00Z")
    new = container("shop-db-1", ("shop", "db", 1), address="10.0.0.3", started="2026-01-01T00:00:09Z")
    for order in ((old, new), (new, old)):
        made = planned(*order)
        assert pod(made, "shop/db-1")["status"]["podIP"] == "10.0.0.3"
        assert reasons(made) == {"0a1b_shop-db-1": "HostNameTaken", "shop-db-1": ""}
    before = planned(old).objects
    after = planned(replace(old, name="shop-db-1")).objects
    assert before == after


def test_containers_for_one_command_and_those_that_hold_a_network_are_none() -> None:
    one_off = container("run", ("shop", "db", 1), raw={"com.docker.compose.oneoff": "True"})
    infra = container("x-infra", is_infra=True)
    assert (names(made := planned(one_off, infra)), made.outcomes) == ([], [])


def test_containers_that_have_ended_have_no_pod_and_keep_their_service() -> None:
    made = planned(container("a", ("shop", "db", 1), state="exited"))
    assert names(made) == []
    assert made.kept == {Key(SERVICE, "shop", "db")}
    assert reasons(made) == {"a": "NotRunning"}


def test_several_services_find_one_container() -> None:
    made = planned(container("a", labels={"service": "db,db-ro", "hostname": "a"}))
    labels = pod(made, "default/a")["metadata"]["labels"]
    for name in ("db", "db-ro"):
        assert service(made, f"default/{name}")["spec"]["selector"].items() <= labels.items()


def test_without_a_service_there_is_a_pod_alone() -> None:
    made = planned(container("a", labels={"service": ""}))
    assert names(made) == ["Pod default/a"]
    assert "subdomain" not in pod(made, "default/a")["spec"]


def test_ports_are_those_that_are_exposed_unless_they_are_named() -> None:
    exposed = (ExposedPort(53, "UDP"), ExposedPort(5432, "TCP"))
    made = planned(
        container("a", exposed=exposed), container("b", labels={"port": "pg=5432"}, exposed=exposed)
    )
    assert [one["name"] for one in service(made, "default/a")["spec"]["ports"]] == ["tcp-5432", "udp-53"]
    assert [one["name"] for one in service(made, "default/b")["spec"]["ports"]] == ["pg"]


def test_ports_that_differ_between_members_are_told() -> None:
    one = container("a", ("shop", "db", 1), {"port": "pg=5432"})
    two = container("b", ("shop", "db", 2), {"port": "pg=5433"})
    made = planned(one, two)
    assert [p["port"] for p in service(made, "shop/db")["spec"]["ports"]] == [5432]
    assert [r.reason for o in made.outcomes for r in o.remarks] == ["PortsDiffer"]


def test_a_cluster_ip_takes_a_port() -> None:
    made = planned(container("a", labels={"cluster-ip": "auto", "port": "80"}))
    assert "clusterIP" not in service(made, "default/a")["spec"]
    made = planned(container("a", labels={"cluster-ip": "auto"}))
    assert service(made, "default/a")["spec"]["clusterIP"] == "None"
    assert [r.reason for o in made.outcomes for r in o.remarks] == ["NoPort"]


def test_other_labels_of_a_service() -> None:
    labels = {"publish-not-ready": "true", "dns-ttl": "30", "label.tier": "back", "aliases": "db.home.arpa"}
    made = planned(container("a", labels=labels))
    found = service(made, "default/a")
    assert found["spec"]["publishNotReadyAddresses"] is True
    assert found["metadata"]["annotations"] == {
        "svcdns.io/dns-ttl": "30",
        "svcdns.io/aliases": "db.home.arpa",
    }
    assert pod(made, "default/a")["metadata"]["labels"]["tier"] == "back"


@pytest.mark.parametrize(
    ("labels", "health", "state", "ready"),
    [
        ({}, "", "running", ("True", "Running")),
        ({}, "healthy", "running", ("True", "Healthy")),
        ({}, "starting", "running", ("False", "HealthStarting")),
        ({}, "unhealthy", "running", ("False", "Unhealthy")),
        ({}, "healthy", "paused", ("False", "Paused")),
        ({}, "healthy", "restarting", ("False", "Restarting")),
        ({"ready": "always"}, "unhealthy", "running", ("True", "ByLabel")),
        ({"ready": "never"}, "healthy", "running", ("False", "ByLabel")),
    ],
)
def test_state_and_health_are_readiness(
    labels: dict[str, str], health: str, state: str, ready: tuple[str, str]
) -> None:
    """libnetwork#2137, nginx-proxy#419; traefik#7377, #8690: not ready, and registered all the same."""
    (condition,) = pod(planned(container("a", labels=labels, health=health, state=state)), "default/a")[
        "status"
    ]["conditions"]
    assert (condition["status"], condition["reason"]) == ready


def test_only_what_is_labelled_or_selected_is_taken() -> None:
    yes, no = container("yes", labels={"enable": "true"}), container("no", labels={"enable": "false"})
    plain = container("plain", raw={"tier": "back"})
    assert reasons(planned(yes, no, plain)) == {"yes": "", "no": "NotEnabled", "plain": ""}
    assert reasons(planned(yes, no, plain, expose="labelled"))["plain"] == "NotEnabled"
    assert reasons(planned(yes, no, plain, constraints="tier=back")) == {"plain": ""}


def test_namespaces_that_are_not_allowed_and_kube_system_never() -> None:
    shop, other = container("a", ("shop", "a", 1)), container("b", ("other", "b", 1))
    system = container("c", labels={"namespace": "kube-system"})
    found = reasons(planned(shop, other, system, namespaces=("shop",)))
    assert found == {"a": "", "b": "NamespaceNotAllowed", "c": "NamespaceNotAllowed"}
    assert reasons(planned(system)) == {"c": "NamespaceNotAllowed"}
    assert names(planned(shop, other, namespace="all"))[:2] == ["Pod all/a-1", "Pod all/b-1"]


def test_long_names_are_cut_to_different_ones_and_that_is_told() -> None:
    long = "x" * 70
    assert len(dns_label(long)) == 63
    assert dns_label(long) != dns_label(long + "y")
    made = planned(container(long))
    assert [r.reason for o in made.outcomes for r in o.remarks] == ["NameChanged"]


def test_names_that_have_no_letter_are_those_of_ids() -> None:
    made = planned(container("__", id="abcdef0123456789"))
    assert names(made) == ["Pod default/abcdef012345", "Service default/abcdef012345"]


_names = st.text("aA_.-é1", min_size=1, max_size=70)
_containers = st.lists(
    st.builds(
        container,
        _names,
        st.none() | st.tuples(_names, _names, st.integers(0, 3)),
        st.dictionaries(
            st.sampled_from(
                ("service", "hostname", "port", "cluster-ip", "address", "namespace", "label.a/b")
            ),
            st.sampled_from(("a", "B_c", "80", "x=1,y=2/udp", "auto", "host", "10.1.1.1", "", "a,b")),
        ),
        state=st.sampled_from(("running", "exited", "paused")),
        started=st.sampled_from(("", "2026-01-01T00:00:00Z", "2026-01-01T00:00:01Z")),
        exposed=st.just((ExposedPort(80, "TCP"), ExposedPort(80, "UDP"))),
    ),
    max_size=6,
    unique_by=lambda one: one.id,
)


@given(_containers, st.randoms(use_true_random=False))
def test_the_order_of_a_list_changes_nothing_and_every_name_is_one(
    containers: list[Container], chance: Any
) -> None:
    made = planned(*containers)
    shuffled = list(containers)
    chance.shuffle(shuffled)
    again = planned(*shuffled)
    assert made.objects == again.objects
    assert {one.container.id for one in made.outcomes} == {one.id for one in containers}
    for key, body in made.objects.items():
        assert not syntax.label_errors(key.name) and not syntax.label_errors(key.namespace)
        for label, value in body["metadata"]["labels"].items():
            assert not syntax.key_errors(label) and not syntax.label_value_errors(value)
