"""What is to be probed of a Pod, with the kubelet's defaults and its meaning of each field."""

import pytest

from svcdns.probes.specs import Grpc, HttpGet, NotRun, Probe, TcpSocket, is_probed, probes_of

PORTS = [{"name": "http", "containerPort": 8080}, {"containerPort": 9090}]


def readiness(**probe):
    """Return what the one probe of a container is read as."""
    container = {"name": "c", "ports": PORTS, "readinessProbe": probe}
    (found,) = probes_of({"spec": {"containers": [container]}})
    return found.readiness


def test_the_defaults_are_the_kubelets() -> None:
    assert readiness(httpGet={"port": 80}) == Probe(HttpGet(80, "/", "http"), 0, 10, 1, 1, 3)


def test_zero_means_the_default() -> None:
    given = dict.fromkeys(("periodSeconds", "timeoutSeconds", "successThreshold", "failureThreshold"), 0)
    assert readiness(tcpSocket={"port": 80}, **given) == Probe(TcpSocket(80), 0, 10, 1, 1, 3)


def test_every_number_is_taken() -> None:
    found = readiness(
        grpc={"port": 9, "service": "s"},
        initialDelaySeconds=1,
        periodSeconds=2,
        timeoutSeconds=3,
        successThreshold=4,
        failureThreshold=5,
    )
    assert found == Probe(Grpc(9, "s"), 1, 2, 3, 4, 5)


@pytest.mark.parametrize(
    ("given", "check"),
    [
        ({"httpGet": {"port": "http"}}, HttpGet(8080)),
        ({"httpGet": {"port": "81", "path": "ready"}}, HttpGet(81, "/ready")),
        ({"httpGet": {"port": 1, "scheme": "HTTPS", "path": "/a?b=c"}}, HttpGet(1, "/a?b=c", "https")),
        ({"httpGet": {"port": 1, "host": "a.example"}}, HttpGet(1, host="a.example")),
        (
            {"httpGet": {"port": 1, "host": "a", "httpHeaders": [{"name": "host", "value": "b"}]}},
            HttpGet(1, host="b"),
        ),
        (
            {
                "httpGet": {
                    "port": 1,
                    "httpHeaders": [{"name": "X", "value": "1"}, {"name": "X", "value": "2"}],
                }
            },
            HttpGet(1, headers=(("X", "1"), ("X", "2"))),
        ),
        ({"tcpSocket": {"port": "http", "host": "10.9.9.9"}}, TcpSocket(8080)),
        ({"grpc": {"port": 5, "service": None}}, Grpc(5)),
    ],
)
def test_what_a_probe_asks(given, check) -> None:
    assert readiness(**given).check == check


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"httpGet": {"port": "web"}}, "container c has no port named web; its ports: http"),
        ({"tcpSocket": {"port": 0}}, "port 0 is none: allowed are 1 to 65535"),
        ({"tcpSocket": {"port": 70000}}, "port 70000 is none: allowed are 1 to 65535"),
    ],
)
def test_what_cannot_be_probed_is_said(given, why) -> None:
    assert readiness(**given).check == NotRun(why)


def test_which_containers() -> None:
    probe = {"tcpSocket": {"port": 1}}
    pod = {
        "spec": {
            "initContainers": [
                {"name": "once", "readinessProbe": probe},
                {"name": "sidecar", "restartPolicy": "Always", "startupProbe": probe},
            ],
            "containers": [
                {"name": "plain"},
                {"name": "alive", "livenessProbe": probe},
                {"name": "runs", "readinessProbe": {"exec": {"command": ["true"]}}},
                {"name": "ready", "readinessProbe": probe},
            ],
        }
    }
    assert [one.container for one in probes_of(pod)] == ["sidecar", "ready"]
    assert is_probed(pod)


@pytest.mark.parametrize("pod", [{}, {"spec": None}, {"spec": {"containers": [{"name": "a"}]}}])
def test_pods_without_probes(pod) -> None:
    assert not is_probed(pod)
    assert probes_of(pod) == ()
