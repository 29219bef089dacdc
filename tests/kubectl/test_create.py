"""create, run and expose; `create namespace` and `create service` send protobuf."""

import pytest
from toolbox.running_kubectl import Kubectl, manifest, service
from toolbox.running_server import RunningServer


def test_create_from_a_file_only_once(kubectl: Kubectl) -> None:
    assert kubectl.apply(service("web"), command="create") == "service/web created\n"
    told = kubectl.refused("create", "-f", "-", stdin=manifest(service("web")))
    assert told == (
        'Error from server (AlreadyExists): error when creating "STDIN": services "web" already exists\n'
    )


def test_create_with_a_generated_name(kubectl: Kubectl) -> None:
    made = {**service("x"), "metadata": {"generateName": "web-"}}
    first, second = (kubectl("create", "-f", "-", "-o", "name", stdin=manifest(made)) for _ in range(2))
    assert first.startswith("service/web-")
    assert first != second


def test_create_namespace(kubectl: Kubectl, server: RunningServer) -> None:
    name = f"{kubectl.namespace}-x"
    assert kubectl("create", "namespace", name) == f"namespace/{name} created\n"
    assert kubectl("get", "ns", name, "-o", "jsonpath={.status.phase}") == "Active"
    told = kubectl.refused("create", "ns", name)
    assert told == f'Error from server (AlreadyExists): namespaces "{name}" already exists\n'
    assert kubectl("delete", "ns", name) == f'namespace "{name}" deleted\n'


@pytest.mark.parametrize(
    ("words", "spec"),
    [
        (
            ("clusterip", "made", "--tcp=80:8080", "--tcp=443"),
            {"type": "ClusterIP", "ports": [("80-8080", 80, 8080), ("443", 443, 443)]},
        ),
        (
            ("nodeport", "made", "--tcp=80:8080", "--node-port=31500"),
            {"type": "NodePort", "ports": [("80-8080", 80, 8080)]},
        ),
        (
            ("loadbalancer", "made", "--tcp=80:web"),
            {"type": "LoadBalancer", "ports": [("80-web", 80, "web")]},
        ),
    ],
)
def test_create_service(kubectl: Kubectl, words: tuple[str, ...], spec: dict[str, object]) -> None:
    assert kubectl("create", "service", *words) == "service/made created\n"
    made = kubectl.json("get", "svc", "made")
    assert made["spec"]["type"] == spec["type"]
    assert [(p["name"], p["port"], p["targetPort"]) for p in made["spec"]["ports"]] == spec["ports"]
    assert made["spec"]["selector"] == made["metadata"]["labels"] == {"app": "made"}
    assert made["spec"]["clusterIP"].startswith("10.")


def test_create_a_headless_service(kubectl: Kubectl) -> None:
    kubectl("create", "service", "clusterip", "db", "--clusterip=None", "--tcp=5432")
    assert kubectl.table("get", "svc", "db")[1][1:5] == ["ClusterIP", "None", "<none>", "5432/TCP"]


def test_create_an_external_name(kubectl: Kubectl, server: RunningServer) -> None:
    told = kubectl("create", "service", "externalname", "docs", "--external-name", "www.example.org")
    assert told == "service/docs created\n"
    name = f"docs.{kubectl.namespace}.svc.cluster.local"
    assert server.answers(name, "CNAME") == ["www.example.org."]


def test_create_as_a_dry_run_on_the_server(kubectl: Kubectl) -> None:
    words = ("create", "service", "clusterip", "web", "--tcp=80", "--dry-run=server")
    assert kubectl(*words) == "service/web created (server dry run)\n"
    assert "NotFound" in kubectl.refused("get", "svc", "web")


def test_what_create_service_refuses(kubectl: Kubectl) -> None:
    kubectl("create", "service", "clusterip", "web", "--tcp=80")
    told = kubectl.refused("create", "service", "clusterip", "web", "--tcp=80")
    assert told == 'error: failed to create ClusterIP service: services "web" already exists\n'
    told = kubectl.refused("create", "service", "nodeport", "low", "--tcp=80", "--node-port=80")
    assert "provided port is not in the valid range" in told


def test_run(kubectl: Kubectl) -> None:
    assert kubectl("run", "web", "--image=none", "--port=80") == "pod/web created\n"
    made = kubectl.json("get", "pod", "web")
    assert made["metadata"]["labels"] == {"run": "web"}
    assert made["spec"]["containers"][0]["ports"] == [{"containerPort": 80, "protocol": "TCP"}]
    assert kubectl.table("get", "pods")[1] == ["web", "0/1", "Pending", "0", "AGE"]
    told = kubectl.refused("run", "web", "--image=none")
    assert told == 'Error from server (AlreadyExists): pods "web" already exists\n'


def test_run_and_expose_at_once(kubectl: Kubectl) -> None:
    told = kubectl("run", "web", "--image=none", "--port=80", "--expose", "--labels=app=web")
    assert told == "pod/web created\nservice/web created\n"
    assert kubectl.json("get", "svc", "web")["spec"]["selector"] == {"app": "web"}


def test_run_where_the_address_is_known(kubectl: Kubectl, server: RunningServer) -> None:
    """The way to register something from the command line: its status in --overrides."""
    place = '{"apiVersion": "v1", "status": {"podIP": "192.0.2.77"}}'
    kubectl("run", "web", "--image=none", "--port=80", "--expose", f"--overrides={place}")
    assert server.answers(f"web.{kubectl.namespace}.svc.cluster.local") != []
    assert kubectl.table("get", "endpoints", "web")[1][1] == "192.0.2.77:80"


def test_expose(kubectl: Kubectl, server: RunningServer, web: object) -> None:
    told = kubectl("expose", "pod", "web-1", "--name=front", "--port=80", "--target-port=8080")
    assert told == "service/front exposed\n"
    assert kubectl.table("get", "endpoints", "front")[1][1] == "10.1.0.1:8080,10.1.0.2:8080"
    told = kubectl("expose", "service", "web", "--name=again", "--port=81", "--cluster-ip=None")
    assert told == "service/again exposed\n"
    assert server.answers(f"again.{kubectl.namespace}.svc.cluster.local") == ["10.1.0.1", "10.1.0.2"]
