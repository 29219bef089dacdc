"""Promise 6, bad input changes nothing: over the real API a clear Status, and the state is as before.

Each case is a request that must be refused; afterwards every object is compared with its revision (Events
apart, which tell of other writes, and of a range that was full), so nothing was written at all, and what the
error says must name the field and what is wrong.
What bad DNS messages do is in test_bad_questions.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from toolbox.builders import pod, service
from toolbox.calls import NAMESPACE, PODS, SERVICES, Calls
from toolbox.running_server import RunningServer

MIB = 1 << 20
TAKEN = "10.99.0.1"
CONFIG = """
[services]
cluster_ip_ranges = ["10.99.0.0/29"]
node_port_range = "30000-30001"
"""
SLICES = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices"


@dataclass(frozen=True)
class Bad:
    """A request and how it is refused: the code and words that the message must have."""

    case: str
    code: int
    words: tuple[str, ...]
    body: Any
    method: str = "POST"
    path: str = SERVICES
    content_type: str = "application/json"


def with_(obj: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """Return an object with another value at a dotted path; None takes it away."""
    changed = json.loads(json.dumps(obj))
    *way, last = path.split(".")
    inner = changed
    for step in way:
        inner = inner[int(step) if isinstance(inner, list) else step]
    if value is None:
        del inner[last]
    else:
        inner[last] = value
    return dict(changed)


def ports(*some: dict[str, Any]) -> dict[str, Any]:
    return service("new", ports=list(some))


WEB = service("new")
POD = pod("new", "10.1.0.1", "web")
MERGE = "application/merge-patch+json"
YAML = "application/yaml"

BAD = [
    # What can't be read
    Bad("no body", 400, ("no body",), b""),
    Bad("half JSON", 400, ("JSON",), b'{"metadata": {"name"'),
    Bad("not UTF-8", 400, ("JSON", "UTF-8"), b'{"metadata": {"name": "\xff"}}'),
    Bad("a list", 400, ("a list", "an object"), []),
    Bad("half YAML", 400, ("YAML", "line"), b"metadata: {name: [", content_type=YAML),
    Bad("YAML alias", 400, ("alias",), b"a: &x [1]\nb: *x", content_type=YAML),
    Bad("a form", 415, ("application/json",), b"name=web", content_type="application/x-www-form-urlencoded"),
    Bad("over 3 MiB", 413, ("3145728",), b'{"a": "' + b"x" * (3 * MIB) + b'"}'),
    # Structure
    Bad(
        "unknown field",
        400,
        ("spec.portz",),
        service("new", portz=[]),
        path=f"{SERVICES}?fieldValidation=Strict",
    ),
    Bad("ports a text", 400, ("spec.ports",), service("new", ports="80")),
    Bad("port a text", 400, ("spec.ports[0].port",), ports({"port": "http"})),
    Bad("spec a number", 400, ("spec",), with_(WEB, "spec", 5)),
    Bad("metadata a list", 400, ("metadata",), with_(WEB, "metadata", [])),
    Bad("a Pod as Service", 400, ("kind",), {**WEB, "kind": "Pod"}),
    Bad("another namespace", 400, ("namespace",), with_(WEB, "metadata.namespace", "other")),
    # Names
    Bad("no name", 422, ("metadata.name",), with_(WEB, "metadata.name", None)),
    Bad("empty name", 422, ("metadata.name",), service("")),
    Bad("name of 64", 422, ("metadata.name", "63"), service("a" * 64)),
    Bad("name of 254", 422, ("metadata.name", "253"), pod("a" * 254, "10.1.0.1", "web"), path=PODS),
    Bad("name in capitals", 422, ("metadata.name", "lower case"), service("Web")),
    Bad("name with a slash", 422, ("metadata.name",), service("a/b")),
    Bad("bad label", 422, ("metadata.labels",), with_(WEB, "metadata.labels", {"app": "no spaces"})),
    Bad("name twice", 409, ("taken", "already exists"), service("taken")),
    # Addresses
    Bad("address in use", 422, ("clusterIP", "already allocated"), service("new", clusterIP=TAKEN)),
    Bad("out of range", 422, ("clusterIP", "10.99.0.0/29"), service("new", clusterIP="10.98.0.1")),
    Bad("wrong family", 422, ("IPv6", "family"), service("new", clusterIP="fd00::1")),
    Bad("no address", 422, ("clusterIP",), service("new", clusterIP="10.99.0")),
    Bad("no such family here", 422, ("IPv6",), service("new", ipFamilies=["IPv6"])),
    Bad(
        "moved address",
        422,
        ("spec.clusterIPs[0]", "may not change"),
        {"spec": {"clusterIP": "10.99.0.2"}},
        "PATCH",
        f"{SERVICES}/taken",
        MERGE,
    ),
    Bad("bad external IP", 422, ("externalIPs[0]",), service("new", externalIPs=["300.1.1.1"])),
    # Ports
    Bad("no ports", 422, ("spec.ports",), service("new", ports=[])),
    Bad("port 0", 422, ("spec.ports[0].port", "65535"), ports({"port": 0})),
    Bad("port 65536", 422, ("spec.ports[0].port", "65535"), ports({"port": 65536})),
    Bad(
        "a port twice",
        422,
        ("spec.ports[1]", "Duplicate"),
        ports({"name": "a", "port": 80}, {"name": "b", "port": 80}),
    ),
    Bad(
        "a name twice",
        422,
        ("spec.ports[1].name", "Duplicate"),
        ports({"name": "a", "port": 80}, {"name": "a", "port": 81}),
    ),
    Bad("nameless ports", 422, ("spec.ports[0].name",), ports({"port": 80}, {"port": 81})),
    Bad("other protocol", 422, ("spec.ports[0].protocol", "TCP"), ports({"port": 80, "protocol": "ICMP"})),
    Bad(
        "node port elsewhere",
        422,
        ("nodePort", "30000-30001"),
        service("new", type="NodePort", ports=[{"port": 80, "nodePort": 80}]),
    ),
    # Pods
    Bad("bad pod IP", 422, ("status.podIP", "10.1.0.256"), pod("new", "10.1.0.256", "web"), path=PODS),
    Bad("a name as pod IP", 422, ("status.podIP",), pod("new", "web.example", "web"), path=PODS),
    Bad(
        "pod IP of another",
        422,
        ("status.podIP", "podIPs[0]"),
        with_(POD, "status.podIPs", [{"ip": "10.1.0.2"}]),
        path=PODS,
    ),
    Bad("multicast pod IP", 422, ("status.podIP",), pod("new", "224.0.0.1", "web"), path=PODS),
    # Which object, which state of it
    Bad(
        "no such namespace",
        404,
        ("namespaces", "nowhere", "not found"),
        WEB,
        path="/api/v1/namespaces/nowhere/services",
    ),
    Bad("no such Service", 404, ("nobody",), None, "DELETE", f"{SERVICES}/nobody"),
    Bad("no such kind", 404, (), WEB, path=f"{NAMESPACE}/deployments"),
    Bad(
        "stale revision",
        409,
        ("modified",),
        with_(service("taken"), "metadata.resourceVersion", "1"),
        "PUT",
        f"{SERVICES}/taken",
    ),
    Bad("another name", 400, ("new", "taken"), WEB, "PUT", f"{SERVICES}/taken"),
    Bad(
        "stale delete",
        409,
        ("recondition",),
        {"preconditions": {"resourceVersion": "1"}},
        "DELETE",
        f"{SERVICES}/taken",
    ),
    Bad("not to be deleted", 403, ("default",), None, "DELETE", NAMESPACE),
    Bad("patch of a list", 400, ("an object",), [], "PATCH", f"{SERVICES}/taken", MERGE),
    Bad(
        "patch to nonsense", 400, ("spec.ports",), {"spec": {"ports": 7}}, "PATCH", f"{SERVICES}/taken", MERGE
    ),
    Bad("generated slice", 403, ("taken",), {"endpoints": []}, "PATCH", f"{SLICES}/GENERATED", MERGE),
]


@pytest.fixture(scope="module")
def server() -> Iterator[RunningServer]:
    """A server with eight cluster addresses and one Service."""
    with RunningServer(workers=2, config=CONFIG) as running:
        calls = Calls(running.api)
        calls.create_service("taken", clusterIP=TAKEN)
        calls.create_pod("endpoint", "10.1.0.9", "taken")
        calls.close()
        yield running


@pytest.fixture
def calls(server: RunningServer) -> Iterator[Calls]:
    made = Calls(server.api)
    yield made
    made.close()


def everything(calls: Calls) -> dict[str, Any]:
    """Return all objects but Events, each with its revision."""
    paths = (SERVICES, PODS, SLICES, "/api/v1/namespaces", f"{NAMESPACE}/endpoints")
    return {path: calls.done("GET", path)["items"] for path in paths}


def refused(calls: Calls, bad: Bad) -> Any:
    path = bad.path
    if "GENERATED" in path:
        path = path.replace("GENERATED", calls.done("GET", SLICES)["items"][0]["metadata"]["name"])
    status, answer = calls.call(bad.method, path, bad.body, bad.content_type)
    assert status == bad.code, answer
    return answer


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: bad.case)
def test_what_is_refused_says_why_and_leaves_all_as_it_was(calls: Calls, bad: Bad) -> None:
    before = everything(calls)
    answer = refused(calls, bad)
    assert (answer["kind"], answer["status"], answer["code"]) == ("Status", "Failure", bad.code)
    for word in bad.words:
        assert word in answer["message"], answer["message"]
    assert everything(calls) == before


def test_all_causes_come_in_one_answer(calls: Calls) -> None:
    wrong = service("Web", ports=[{"port": 0}, {"port": 70000}], clusterIP="x")
    answer = calls.call("POST", SERVICES, wrong)[1]
    fields = {cause["field"] for cause in answer["details"]["causes"]}
    assert {"metadata.name", "spec.ports[0].port", "spec.ports[1].port"} <= fields


def test_an_unknown_field_is_dropped_with_a_warning(server: RunningServer, calls: Calls) -> None:
    reply = server.post(SERVICES, service("warned", portz=[]))
    assert reply.status == 201
    assert "portz" in reply.headers["Warning"]
    assert "portz" not in reply.json["spec"]
    calls.delete(SERVICES, "warned")


def test_an_exhausted_range_leaks_nothing(calls: Calls) -> None:
    """The range holds eight addresses, one or more of them reserved; one is taken."""
    made = []
    while (answer := calls.call("POST", SERVICES, service(f"full-{len(made)}")))[0] == 201:
        made.append(answer[1]["spec"]["clusterIP"])
        assert len(made) < 8
    before = everything(calls)
    for bad in (service("one-more"), service("both", type="NodePort")):
        status, refusal = calls.call("POST", SERVICES, bad)
        assert status in (422, 500, 507)
        assert (refusal["kind"], refusal["status"]) == ("Status", "Failure")
        assert "10.99.0.0/29" in refusal["message"], refusal["message"]
    assert everything(calls) == before
    calls.delete(SERVICES, "full-0")
    assert calls.create_service("again")["spec"]["clusterIP"] == made[0]
    for name in ("again", *(f"full-{number}" for number in range(1, len(made)))):
        calls.delete(SERVICES, name)


def test_node_ports_run_out_and_the_address_is_given_back(calls: Calls) -> None:
    for number in range(2):
        calls.create_service(f"node-{number}", type="NodePort")
    before = everything(calls)
    status, refusal = calls.call("POST", SERVICES, service("node-2", type="NodePort"))
    assert status in (422, 500, 507)
    assert "30000-30001" in refusal["message"], refusal["message"]
    assert everything(calls) == before
    for number in range(2):
        calls.delete(SERVICES, f"node-{number}")


def test_the_same_bad_request_twice_is_refused_alike(calls: Calls) -> None:
    first, second = (refused(calls, BAD[1]) for _ in range(2))
    assert first == second


def test_a_dry_run_changes_nothing(calls: Calls) -> None:
    before = everything(calls)
    assert calls.call("POST", f"{SERVICES}?dryRun=All", WEB)[0] == 201
    assert calls.call("DELETE", f"{SERVICES}/taken?dryRun=All")[0] == 200
    assert everything(calls) == before
