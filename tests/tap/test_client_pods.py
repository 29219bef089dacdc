"""Which Pod has asked, in lines and for who looks: known by its address, unless several have that."""

from pathlib import Path

from tap.recording import question, recorded, reply_to
from toolbox.builders import pod
from toolbox.registry_harness import started

from svcdns.objects.kinds import POD
from svcdns.registry.requests import DeleteOptions, WriteOptions
from svcdns.store.snapshot import Snapshots
from svcdns.tap.client_pods import ClientPods
from svcdns.tap.lines import fields, json_line, showing, text_line

PACKET = question()


def asked_by(client: str) -> str:
    pods = ClientPods()
    return pods(recorded(PACKET, reply_to(PACKET), (client, 1))).pod


async def test_a_client_is_the_pod_that_has_its_address(tmp_path: Path) -> None:
    async with started(tmp_path / "data") as running:
        for name, address in (
            ("p", "10.1.0.1"),
            ("v6", "2001:db8::1"),
            ("h1", "10.1.0.9"),
            ("h2", "10.1.0.9"),
        ):
            await running.registry.create(POD, "default", pod(name, address), WriteOptions())
        pods = ClientPods()
        pods.refresh(Snapshots(running.registry.store).begin)

        def who(client: str) -> str:
            found = pods(recorded(PACKET, reply_to(PACKET), (client, 1)))
            return f"{found.namespace}/{found.pod}"

        assert who("10.1.0.1") == "default/p"
        assert who("::ffff:10.1.0.1") == "default/p"
        assert who("2001:db8::1") == "default/v6"
        assert [who(one) for one in ("10.1.0.2", "10.1.0.9", "10.1.0.10", "")] == ["/"] * 4
        await running.registry.delete(POD, "default", "p", DeleteOptions(grace_period_seconds=0))
        pods.refresh(Snapshots(running.registry.store).begin)
        assert who("10.1.0.1") == "/", "it is another one's by now, or nobody's"


def test_without_a_store_nobody_is_a_pod() -> None:
    assert asked_by("10.1.0.1") == ""


def test_lines_name_the_pod_unless_clients_are_not_to_be_known() -> None:
    record = recorded(PACKET, reply_to(PACKET))._replace(namespace="shop", pod="web-1")
    assert (fields(record)["namespace"], fields(record)["pod"]) == ("shop", "web-1")
    assert text_line(record).endswith(" pod=shop/web-1")
    for clients in ("net", "none"):
        assert "web-1" not in json_line(showing(clients)(record))
        assert "shop" not in text_line(showing(clients)(record))
