"""auth can-i and whoami on a server without credentials; tests/server/test_tls.py has those with."""

from toolbox.running_kubectl import Kubectl


def test_who_am_i(kubectl: Kubectl) -> None:
    assert kubectl.table("auth", "whoami") == [
        ["ATTRIBUTE", "VALUE"],
        ["Username", "system:anonymous"],
        ["Groups", "[system:unauthenticated]"],
    ]


def test_can_i(kubectl: Kubectl) -> None:
    assert kubectl("auth", "can-i", "create", "services") == "yes\n"
    assert kubectl("auth", "can-i", "delete", "pods/status", "--quiet") == ""
    told, _ = kubectl.warned("auth", "can-i", "create", "deployments.apps")
    assert told == "yes\n"


def test_what_can_i(kubectl: Kubectl) -> None:
    head, *rows = kubectl.table("auth", "can-i", "--list")
    assert head == ["Resources", "Non-Resource URLs", "Resource Names", "Verbs"]
    found = {row[0]: row[1:] for row in rows}
    every = "[create delete deletecollection get list patch update watch]"
    assert found["services"] == found["endpointslices.discovery.k8s.io"] == ["[]", "[]", every]
    assert found["endpoints"] == found["services"]
