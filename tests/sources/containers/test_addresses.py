"""Whose address a container answers with: explicit rules, and none where nobody knows."""

from itertools import permutations
from typing import Any

import pytest

from svcdns.config.container_engines import ContainerEngine
from svcdns.sources.containers.addresses import NoAddress, Reached, reached
from svcdns.sources.containers.engine_objects import Attached, Container, ExposedPort, Published
from svcdns.sources.containers.labels import asked

LEFT, RIGHT = Attached("left", "10.1.0.2", "fd00:1::2"), Attached("right", "10.2.0.2")
PORT = ExposedPort(80, "TCP")


def where(
    labels: dict[str, str] | None = None,
    own: tuple[str, ...] = (),
    others: tuple[Container, ...] = (),
    engine: dict[str, Any] | None = None,
    **fields: Any,
) -> Reached:
    words = {f"svcdns.io/{word}": text for word, text in (labels or {}).items()}
    one = Container("a", "a", state="running", **fields)
    config = ContainerEngine("unix:///x", **(engine or {}))
    return reached(one, asked(words), config, {other.id: other for other in others}, own)


def test_both_families_of_the_only_network() -> None:
    assert where(networks=(LEFT,)) == Reached(("10.1.0.2", "fd00:1::2"))


def test_of_several_networks_always_the_same_one_is_taken_and_that_is_said() -> None:
    """traefik#1156, #979, #5040, #3429: a random one, another one at each refresh."""
    third = Attached("middle", "10.3.0.2")
    found = {
        where(networks=tuple(sorted(order, key=lambda n: n.network)))
        for order in permutations((LEFT, RIGHT, third))
    }
    assert len(found) == 1
    (one,) = found
    assert one.addresses == ("10.1.0.2", "fd00:1::2")
    assert "svcdns.io/network" in one.remark


def test_a_network_that_svcdns_is_on_itself_is_preferred() -> None:
    assert where(networks=(LEFT, RIGHT), own=("right",)) == Reached(("10.2.0.2",))


@pytest.mark.parametrize("by_label", [True, False])
def test_the_network_that_is_named_is_taken_with_or_without_composes_prefix(by_label: bool) -> None:
    """dns-proxy-server#89, #347: a label for the network."""
    networks = (Attached("shop_back", "10.4.0.2"), RIGHT)
    project = {"com.docker.compose.project": "shop"}
    more = {"labels": {"network": "back"}} if by_label else {"engine": {"network": "back"}}
    words = more.pop("labels", {})
    one = Container("a", "a", state="running", networks=networks, labels=project)
    config = ContainerEngine("unix:///x", **more.get("engine", {}))
    asks = asked({f"svcdns.io/{word}": text for word, text in words.items()})
    assert reached(one, asks, config, {}, ()).addresses == ("10.4.0.2",)


def test_a_network_that_it_is_not_on_is_no_address_and_the_ones_it_is_on_are_named() -> None:
    """traefik#1254, #3535: a silent fallback to any other."""
    with pytest.raises(NoAddress, match="not on the network back; it is on left, right"):
        where({"network": "back"}, networks=(LEFT, RIGHT))


def test_published_ports_are_reached_at_the_address_that_is_configured_never_at_our_own() -> None:
    """registrator#37, #386: its own address instead of the service's."""
    anywhere = (Published(PORT, "0.0.0.0", 8080), Published(PORT, "::", 8080))
    with pytest.raises(NoAddress, match="host_address"):
        where({"address": "published"}, published=anywhere)
    found = where({"address": "published"}, published=anywhere, engine={"host_address": "192.0.2.9"})
    assert found == Reached(("192.0.2.9",), is_published=True)
    certain = (Published(PORT, "192.0.2.5", 8080),)
    assert where({"address": "published"}, published=certain).addresses == ("192.0.2.5",)
    with pytest.raises(NoAddress, match="no port of it is published"):
        where({"address": "published"}, networks=(LEFT,))


def test_on_the_hosts_network_it_is_the_hosts_address_never_loopback() -> None:
    """traefik's host mode answers 127.0.0.1."""
    with pytest.raises(NoAddress, match="host_address"):
        where(mode="host")
    assert where(mode="host", engine={"host_address": "192.0.2.9"}).addresses == ("192.0.2.9",)


def test_without_an_address_published_ports_are_the_remedy() -> None:
    """traefik#5730, #10030: rootless containers have none."""
    with pytest.raises(NoAddress, match=r"svcdns\.io/address=published"):
        where(networks=(Attached("podman"),))


def test_in_the_network_of_another_container_it_has_that_ones_addresses() -> None:
    infra = Container("b", "pod-infra", state="running", networks=(RIGHT,))
    assert where(mode="container:b", others=(infra,)).addresses == ("10.2.0.2",)
    assert where(mode="container:pod-infra", others=(infra,)).addresses == ("10.2.0.2",)
    ended = Container("b", "pod-infra", state="exited", networks=(RIGHT,))
    with pytest.raises(NoAddress, match="does not run"):
        where(mode="container:b", others=(ended,))
    circle = Container("b", "b", state="running", mode="container:b")
    with pytest.raises(NoAddress, match="of others"):
        where(mode="container:b", others=(circle,))


def test_a_literal_address_is_what_it_says() -> None:
    assert where({"address": "2001:db8::1"}, networks=(LEFT,)).addresses == ("2001:db8::1",)
