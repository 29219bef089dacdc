"""What was cached before a zone was one for aliases never hides an alias there."""

from collections.abc import Callable
from pathlib import Path

from forward.behaviour.expecting import SERVICES, data, to
from toolbox.builders import service
from toolbox.upstreams import Unbound

UPSTREAM = """\
www.example.net. 3000 IN CNAME nas.example.com.
nas.example.com. 3000 IN A 192.0.2.9
"""
CHAIN = "CNAME nas.example.com."


def test_answers_of_an_earlier_run_are_forgotten(need: Callable[..., str], tmp_path: Path) -> None:
    need("unbound")
    nas = service("nas", clusterIP="10.96.0.10")
    nas["metadata"]["annotations"] = {"svcdns.io/aliases": "nas.example.com"}
    with Unbound(UPSTREAM, tls=False, https=False, recursive=True) as upstream:
        with to(upstream.address, data=tmp_path / "data", workers=1) as server:
            for _ in range(2):
                assert data(server.ask("www.example.net")) == ["A 192.0.2.9", CHAIN]
            assert upstream.queries("www.example.net.") == 1, "the second is answered from the cache"
            assert server.post(SERVICES, nas).status == 201
            assert data(server.ask("www.example.net")) == ["A 192.0.2.9", CHAIN]
        zones = '[dns]\nalias_zones = ["example.com"]\n'
        with to(upstream.address, zones, data=tmp_path / "data", workers=1) as server:
            assert data(server.ask("www.example.net")) == ["A 10.96.0.10", CHAIN]
