"""Whatever order events come in, the rules are those of a fresh look at all objects, and of a plain model."""

from ipaddress import ip_address
from typing import Any

from cluster.test_traffic import ONE, TWO, VIP, everywhere, external
from cluster.traffic_harness import HERE, Object, Run, cluster_ip, endpoint, slice_of
from hypothesis import given
from hypothesis import strategies as st

from svcdns.cluster.traffic import frontend_text
from svcdns.cluster.traffic_plan import Endpoint
from svcdns.cluster.usable_endpoints import Place

NAMES = ("a", "b", "c")
POLICIES = st.sampled_from(["Local", "Cluster"])
CONDITION = st.sampled_from([True, False])


@st.composite
def services(draw: Any) -> Object:
    name = draw(st.sampled_from(NAMES))
    kind = draw(st.sampled_from(["ClusterIP", "NodePort", "LoadBalancer", "ExternalName"]))
    shared = draw(st.sampled_from([[], ["198.51.100.1"], ["198.51.100.1", "8.8.8.8"]]))
    port = {"name": "http", "port": 80, "nodePort": 30001 if kind != "ClusterIP" else 0}
    policies = {"internalTrafficPolicy": draw(POLICIES), "externalTrafficPolicy": draw(POLICIES)}
    made = cluster_ip(
        name, f"10.96.0.{1 + NAMES.index(name)}", type=kind, externalIPs=shared, ports=[port], **policies
    )
    ranges = draw(st.sampled_from([None, ["10.0.0.0/8"], ["x"]]))
    made["spec"] |= {"healthCheckNodePort": 31000, "loadBalancerSourceRanges": ranges}
    return made | {"status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}}


@st.composite
def endpoints(draw: Any) -> Object:
    address = f"10.{draw(st.sampled_from([0, 88]))}.0.{draw(st.integers(1, 3))}"
    node, zone = draw(st.sampled_from(["", "here", "there"])), draw(st.sampled_from(["", "zone-a", "zone-b"]))
    for_node = draw(st.sampled_from(["", "here", "there"]))
    names = draw(st.sets(st.sampled_from(["ready", "serving", "terminating"])))
    return endpoint(address, node, zone, for_node, **{name: draw(CONDITION) for name in sorted(names)})


@st.composite
def slices(draw: Any) -> Object:
    name, service = draw(st.sampled_from(["x", "y", "z"])), draw(st.sampled_from(NAMES))
    found = draw(st.lists(endpoints(), max_size=4))
    ports = [{"name": "http", "port": draw(st.sampled_from([8080, 9090])), "protocol": "TCP"}]
    return slice_of(*found, name=name, service=service, ports=ports)


EVENTS = st.lists(st.tuples(CONDITION, services() | slices()), max_size=12)


@given(events=EVENTS)
def test_changes_add_up_to_what_a_fresh_look_at_all_objects_finds(events: list[tuple[bool, Object]]) -> None:
    run = Run()
    there: dict[tuple[str, str], Object] = {}
    for gone, obj in events:
        key = obj["kind"], obj["metadata"]["name"]
        if gone:
            drop = run.traffic.drop_service if obj["kind"] == "Service" else run.traffic.drop_slice
            drop(f"default/{key[1]}")
            there.pop(key, None)
            run.changes()
        else:
            there[key] = obj
            run.take(obj)  # and sees that what it told adds up

    fresh = Run(*reversed(there.values()))
    assert run.held == fresh.held
    assert run.problems == fresh.problems
    assert run.traffic.health_checks() == fresh.traffic.health_checks()


@given(
    service=services(),
    given_slices=st.lists(slices(), max_size=3, unique_by=lambda one: one["metadata"]["name"]),
)
def test_endpoints_are_those_of_a_plain_model(service: Object, given_slices: list[Object]) -> None:
    """The model says it once more, as the pages of Kubernetes do, with no thought for speed."""
    run = Run(service, *given_slices)
    all_of_them = [
        (Endpoint(ip_address(one["addresses"][0]).packed, each["ports"][0]["port"]), one)
        for each in given_slices
        if each["metadata"]["labels"]["kubernetes.io/service-name"] == service["metadata"]["name"]
        for one in each["endpoints"]
    ]
    addresses = [at for at, _ in all_of_them]
    if len(set(addresses)) < len(addresses):
        return  # which of two equal addresses counts is a test of its own
    ready = [(at, one) for at, one in all_of_them if one["conditions"].get("ready", True)]
    draining = [(at, one) for at, one in all_of_them if _drains(one["conditions"])]
    cluster = _near(ready) or [at for at, _ in draining]
    local = [at for at, one in ready if _is_here(at, one)] or [
        at for at, one in draining if _is_here(at, one)
    ]

    wanted = {"Cluster": tuple(sorted(cluster)), "Local": tuple(sorted(local))}
    spec = service["spec"]
    for frontend, rule in run.held.items():
        if frontend_text(frontend).startswith("TCP 10.96."):
            assert rule.inside.endpoints == rule.outside.endpoints == wanted[spec["internalTrafficPolicy"]]
        else:
            assert rule.inside.endpoints == wanted["Cluster"]
            assert rule.outside.endpoints == wanted[spec["externalTrafficPolicy"]]
        for where in (rule.inside, rule.outside):
            is_local = where is not rule.inside or where.endpoints == wanted["Local"] != wanted["Cluster"]
            if not where.endpoints and is_local and (ready or draining):
                assert where.when_empty.value == "drop"
            if not ready and not draining:
                assert where.when_empty.value == "refuse"


def _drains(conditions: dict[str, bool]) -> bool:
    ready = conditions.get("ready", True)
    return not ready and conditions.get("serving", ready) and conditions.get("terminating", False)


def _is_here(at: Endpoint, one: Object) -> bool:
    if "nodeName" in one:
        return bool(one["nodeName"] == "here")
    return any(ip_address(at.address) in network for network in HERE.place.networks)


def _near(ready: list[tuple[Endpoint, Object]]) -> list[Endpoint]:
    for field, wanted in (("forNodes", "here"), ("forZones", "zone-a")):
        hints = [{one["name"] for one in obj.get("hints", {}).get(field, [])} for _, obj in ready]
        near = [at for (at, _), names in zip(ready, hints, strict=True) if wanted in names]
        if all(hints) and near:
            return near
    return [at for at, _ in ready]


def test_a_change_touches_its_service_only() -> None:
    run = Run(cluster_ip(), cluster_ip("db", "10.96.0.2"), slice_of(endpoint(ONE)))

    changes = run.take(slice_of(endpoint(TWO)))

    assert [rule and rule.service for rule in changes.rules.values()] == ["default/web"]
    assert not run.take(slice_of(endpoint(TWO)))


def test_what_a_list_does_not_show_is_gone() -> None:
    run = Run(cluster_ip(), cluster_ip("db", "10.96.0.2"), slice_of(endpoint(ONE)))

    run.traffic.keep_services(["default/web"])
    run.traffic.keep_slices([])
    run.changes()

    assert run.shown == {VIP: everywhere("refused")}


def test_a_service_that_changes_its_type_has_no_old_frontend_left() -> None:
    run = Run(external(), slice_of(endpoint(ONE)))

    run.take(cluster_ip(ports=[{"name": "http", "port": 81}]))
    assert list(run.shown) == ["TCP 10.96.0.1:81"]
    run.take(cluster_ip(address="", type="ExternalName", externalName="example.org"))
    assert run.shown == {}


def test_a_slice_may_go_to_another_service() -> None:
    run = Run(cluster_ip(), cluster_ip("db", "10.96.0.2"), slice_of(endpoint(ONE)))

    run.take(slice_of(endpoint(ONE), service="db"))

    assert run.shown == {VIP: everywhere("refused"), "TCP 10.96.0.2:80": everywhere("10.0.0.1:8080")}


def test_all_is_computed_anew_where_this_proxy_is_found_elsewhere() -> None:
    run = Run(cluster_ip(internalTrafficPolicy="Local"), slice_of(endpoint(ONE, "there")))
    assert run.shown == {VIP: everywhere("dropped")}

    run.traffic.be_at(Place("there"))
    run.changes()

    assert run.shown == {VIP: everywhere("10.0.0.1:8080")}
    run.traffic.be_at(HERE.place)
    assert run.changes()
