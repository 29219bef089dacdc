"""Tables: Kubernetes' columns and cells."""

import json

import pytest
from toolbox.builders import namespace

from svcdns.api import humanize, table_cells
from svcdns.api.negotiation import discovery_version, table_version
from svcdns.objects.kinds import ENDPOINTS, ENDPOINTSLICE, NAMESPACE, POD

NOW = 1_700_000_000.0
MADE = "2023-11-14T22:08:20Z"  # five minutes before
TABLE = (
    "application/json;as=Table;v=v1;g=meta.k8s.io,"
    "application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json"
)
SERVICES = "/api/v1/namespaces/shop/services"


async def table_of(client, path, accept=TABLE):
    answer = await client.get(path, headers={"Accept": accept})
    assert answer.content_type == "application/json"
    return await answer.json()


def columns_of(table):
    return [(c["name"], c["priority"]) for c in table["columnDefinitions"]]


async def test_services(client, registry):
    table = await table_of(client, SERVICES)
    assert (table["kind"], table["apiVersion"]) == ("Table", "meta.k8s.io/v1")
    assert table["metadata"] == {"resourceVersion": str(registry.revision)}
    assert columns_of(table) == [
        ("Name", 0), ("Type", 0), ("Cluster-IP", 0), ("External-IP", 0), ("Port(s)", 0), ("Age", 0),
        ("Selector", 1),
    ]  # fmt: skip
    assert table["columnDefinitions"][0]["format"] == "name"
    assert {c["type"] for c in table["columnDefinitions"]} == {"string"}
    assert all(c["description"] for c in table["columnDefinitions"])
    [row] = table["rows"]
    assert row["cells"] == ["web", "ClusterIP", "10.96.0.7", "<none>", "80/TCP", "5m", "app=web"]
    assert row["object"]["kind"] == "PartialObjectMetadata"
    assert row["object"]["metadata"]["name"] == "web"
    assert "spec" not in row["object"]


async def test_one_object(client):
    table = await table_of(client, f"{SERVICES}/web")
    assert [row["cells"][0] for row in table["rows"]] == ["web"]


async def test_pages(client, registry):
    for name in ("a", "b"):
        await registry.put(NAMESPACE, "", namespace(name))
    table = await table_of(client, "/api/v1/namespaces?limit=2")
    assert table["metadata"]["continue"]
    assert (len(table["rows"]), table["metadata"]["remainingItemCount"]) == (2, 5)


async def test_what_stands_beside_the_cells(client):
    table = await table_of(client, f"{SERVICES}?includeObject=Object")
    assert table["rows"][0]["object"]["spec"]["clusterIP"] == "10.96.0.7"
    table = await table_of(client, f"{SERVICES}?includeObject=None")
    assert "object" not in table["rows"][0]


@pytest.mark.parametrize(
    ("kind", "path", "columns"),
    [
        (NAMESPACE, "/api/v1/namespaces", ["Name", "Status", "Age"]),
        (
            POD,
            "/api/v1/pods",
            ["Name", "Ready", "Status", "Restarts", "Age", "IP", "Node", "Nominated Node", "Readiness Gates"],
        ),
        (
            ENDPOINTSLICE,
            "/apis/discovery.k8s.io/v1/endpointslices",
            ["Name", "AddressType", "Ports", "Endpoints", "Age"],
        ),
        (ENDPOINTS, "/api/v1/endpoints", ["Name", "Endpoints", "Age"]),
    ],
)
async def test_columns(client, kind, path, columns):
    table = await table_of(client, path)
    assert [c["name"] for c in table["columnDefinitions"]] == columns
    wide = [c["name"] for c in table["columnDefinitions"] if c["priority"] == 1]
    assert wide == (columns[5:] if kind is POD else [])


@pytest.mark.parametrize(
    ("accept", "version"),
    [
        (TABLE, "v1"),
        ("application/json;as=Table;v=v1beta1;g=meta.k8s.io", "v1beta1"),
        ("application/json; as=Table; g=meta.k8s.io; v=v1", "v1"),
        ("application/json", ""),
        ("application/json,application/json;as=Table;v=v1;g=meta.k8s.io", ""),
        ("application/json;as=Table;v=v9;g=meta.k8s.io,application/json", ""),
        ("application/vnd.kubernetes.protobuf, */*", ""),
        ("text/html,*/*", ""),
        ("", ""),
        (";;,=,;as", ""),
    ],
)
def test_accept_of_tables(accept, version):
    assert table_version(accept) == version


def test_accept_of_discovery():
    accept = "application/json;g=apidiscovery.k8s.io;v={};as=APIGroupDiscoveryList,application/json"
    assert discovery_version(accept.format("v2")) == "v2"
    assert discovery_version(accept.format("v2beta1")) == "v2beta1"
    assert discovery_version(accept.format("v3")) == ""
    assert discovery_version("application/json") == ""


async def test_an_unknown_accept_is_answered_with_json(client):
    answer = await client.get(f"{SERVICES}/web", headers={"Accept": "text/html"})
    assert (answer.status, (await answer.json())["kind"]) == (200, "Service")


def service(kind="ClusterIP", **spec):
    status = {"loadBalancer": {"ingress": spec.pop("ingress")}} if "ingress" in spec else {}
    obj = {"metadata": {"name": "s"}, "spec": {"type": kind, **spec}, "status": status}
    return table_cells.of_service(obj, NOW)


@pytest.mark.parametrize(
    ("row", "external"),
    [
        (service(), "<none>"),
        (service(externalIPs=["1.2.3.4", "5.6.7.8"]), "1.2.3.4,5.6.7.8"),
        (service("NodePort"), "<none>"),
        (service("LoadBalancer"), "<pending>"),
        (service("LoadBalancer", ingress=[{"ip": "9.9.9.9"}, {"hostname": "lb"}]), "9.9.9.9,lb"),
        (service("LoadBalancer", ingress=[{"ip": "9.9.9.9"}], externalIPs=["1.2.3.4"]), "9.9.9.9,1.2.3.4"),
        (service("ExternalName", externalName="example.com"), "example.com"),
        (service("Other"), "<unknown>"),
    ],
)
def test_external_ip(row, external):
    assert row[3] == external


def test_service_cells():
    ports = [{"port": 80, "protocol": "TCP", "nodePort": 30080}, {"port": 53, "protocol": "UDP"}]
    row = service("NodePort", clusterIPs=["10.0.0.1", "fd00::1"], ports=ports, selector={"b": "2", "a": "1"})
    assert row == ["s", "NodePort", "10.0.0.1", "<none>", "80:30080/TCP,53/UDP", "<unknown>", "a=1,b=2"]
    assert service("ExternalName")[2:5] == ["<none>", "", "<none>"]
    assert service(clusterIP="None")[2] == "None"


def test_endpointslice_cells():
    obj = {
        "metadata": {"name": "e", "creationTimestamp": MADE},
        "addressType": "IPv4",
        "ports": [{"port": 80}, {"name": "x"}, {}, {"port": 9}],
        "endpoints": [{"addresses": ["10.0.0.1"]}, {"addresses": ["10.0.0.2"]}] * 2,
    }
    assert table_cells.of_endpointslice(obj, NOW) == [
        "e", "IPv4", "80,x,* + 1 more...", "10.0.0.1,10.0.0.2,10.0.0.1 + 1 more...", "5m",
    ]  # fmt: skip
    assert table_cells.of_endpointslice({"metadata": {}}, NOW)[2:4] == ["<unset>", "<unset>"]


def test_endpoints_cells():
    subsets = [
        {"addresses": [{"ip": "10.0.0.1"}, {"ip": "fd00::1"}], "ports": [{"port": 80}, {"port": 81}]},
        {"addresses": [{"ip": "10.0.0.9"}]},
    ]
    row = table_cells.of_endpoints({"metadata": {"name": "e"}, "subsets": subsets}, NOW)
    assert row[1] == "10.0.0.1:80,[fd00::1]:80,10.0.0.1:81 + 2 more..."
    assert table_cells.of_endpoints({"metadata": {"name": "e"}}, NOW)[1] == "<none>"


def pod(containers=1, spec=(), metadata=(), **status):
    obj = {
        "metadata": {"name": "p", "creationTimestamp": MADE, **dict(metadata)},
        "spec": {"containers": [{"name": f"c{i}"} for i in range(containers)], **dict(spec)},
        "status": status,
    }
    return table_cells.of_pod(obj, NOW)


def condition(kind, status):
    return {"type": kind, "status": status}


def test_a_ready_pod():
    row = pod(
        2,
        {"nodeName": "n1", "readinessGates": [{"conditionType": "g"}, {"conditionType": "h"}]},
        phase="Running",
        podIP="10.1.0.1",
        podIPs=[{"ip": "10.1.0.1"}, {"ip": "fd00::1"}],
        conditions=[condition("Ready", "True"), condition("g", "True"), condition("h", "True")],
    )
    assert row == ["p", "2/2", "Running", "0", "5m", "10.1.0.1", "n1", "<none>", "2/2"]


@pytest.mark.parametrize(
    ("row", "ready", "status", "restarts"),
    [
        (pod(phase="Running", conditions=[condition("Ready", "False")]), "0/1", "Running", "0"),
        (pod(0, phase="Running", podIP="10.1.0.1"), "0/0", "Running", "0"),
        (pod(phase="Running", podIP="10.1.0.1"), "1/1", "Running", "0"),
        (
            pod(metadata={"deletionTimestamp": MADE}, phase="Running", podIP="10.1.0.1"),
            "1/1",
            "Terminating",
            "0",
        ),
        (pod(metadata={"deletionTimestamp": MADE}, phase="Failed", podIP="10.1.0.1"), "0/1", "Failed", "0"),
        (pod(phase="Failed", reason="Evicted"), "0/1", "Evicted", "0"),
        (pod(phase="Pending"), "0/1", "Pending", "0"),
    ],
)
def test_pod_states(row, ready, status, restarts):
    assert tuple(row[1:4]) == (ready, status, restarts)


@pytest.mark.parametrize("make", [table_cells.of_namespace, table_cells.of_service, table_cells.of_pod])
def test_half_empty_objects_have_rows(make):
    assert json.dumps(make({"metadata": {"resourceVersion": "1"}}, NOW))
    assert json.dumps(make({}, NOW))


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "<invalid>"), (-1, "0s"), (0, "0s"), (119, "119s"), (120, "2m"), (200, "3m20s"), (600, "10m"),
        (10799, "179m"), (10800, "3h"), (12000, "3h20m"), (28800, "8h"), (172799, "47h"), (172800, "2d"),
        (180000, "2d2h"), (691200, "8d"), (63072000, "2y"), (63158400, "2y1d"), (252288000, "8y"),
    ],
)  # fmt: skip
def test_durations(seconds, text):
    assert humanize.human_duration(seconds) == text


@pytest.mark.parametrize(("stamp", "text"), [(None, "<unknown>"), (5, "<unknown>"), ("soon", "<invalid>")])
def test_odd_timestamps(stamp, text):
    assert humanize.since(stamp, NOW) == text
