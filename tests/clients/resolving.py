"""What resolvers of other programs look up: two Services, their endpoints, and a server behind each address.

All addresses are of 127.0.0.0/8, cluster IPs too, so whoever resolves a name reaches one server for all of
them, which answers with the address that it was reached at.

    with Resolving() as resolving:
        resolving.flip("db-0", ready=False)       # db answers with db-1 alone
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self

from toolbox.builders import external, headless, pod, ready_condition, service
from toolbox.running_server import RunningServer
from toolbox.waiting import wait_for

ZONE = "default.svc.cluster.local"
SEARCH = (ZONE, "svc.cluster.local", "cluster.local")
CLUSTER_IP = "127.96.0.80"
BOTH = ["127.1.0.1", "127.1.0.2"]
WEB, DB, SRV, NOWHERE = f"web.{ZONE}", f"db.{ZONE}", f"_http._tcp.db.{ZONE}", f"nowhere.{ZONE}"
NO_A = f"_tcp.db.{ZONE}"
"""A name that exists and has no address."""
_CONFIG = """
[services]
cluster_ip_ranges = ["127.96.0.0/16"]
[dns]
ttl = 1
"""


class Resolving:
    """A running server with `web` (a cluster IP), `db` (headless, two Pods) and `alias` (a CNAME to `db`)."""

    def __init__(self) -> None:
        self._stack = contextlib.ExitStack()
        self._http = ThreadingHTTPServer(("0.0.0.0", 0), _Where)
        self._stack.callback(self._http.server_close)
        self.port: int = self._http.server_address[1]
        """Of all endpoints."""
        self.server = RunningServer(workers=1, config=_CONFIG)

    def __enter__(self) -> Self:
        threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True).start()
        self._stack.callback(self._http.shutdown)
        self._stack.enter_context(self.server)
        ports = [{"name": "http", "port": self.port, "targetPort": self.port}]
        for body in (
            service("web", clusterIP=CLUSTER_IP, ports=ports),
            headless("db", ports=ports),
            external("alias", DB),
        ):
            assert self.server.post("/api/v1/namespaces/default/services", body).status == 201
        for number, address in enumerate(BOTH):
            body = pod(f"db-{number}", address, app="db", ready=True)
            assert self.server.post("/api/v1/namespaces/default/pods", body).status == 201
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def dns(self) -> tuple[str, int]:
        """Where names are resolved."""
        return self.server.dns

    def flip(self, name: str, *, ready: bool) -> None:
        """Make a Pod ready, or not."""
        patch = {"status": {"conditions": [ready_condition(ready)]}}
        path = f"/api/v1/namespaces/default/pods/{name}/status"
        reply = self.server.request(
            "PATCH", path, patch, content_type="application/strategic-merge-patch+json"
        )
        assert reply.status == 200, reply.text

    def follows_flips(self, addresses: Callable[[], list[str]]) -> None:
        """Assert that what a client makes of `db` follows its Pods; `addresses` asks it now."""
        wait_for(lambda: addresses() == BOTH, "both endpoints")
        self.flip("db-0", ready=False)
        wait_for(lambda: addresses() == BOTH[1:], "the one that is ready")
        self.flip("db-0", ready=True)
        wait_for(lambda: addresses() == BOTH, "both again")


class _Where(BaseHTTPRequestHandler):
    """Answers with the address at which it was reached."""

    def do_GET(self) -> None:
        octets = self.connection.getsockname()[0].encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(octets)))
        self.end_headers()
        self.wfile.write(octets)

    def log_message(self, *_: object) -> None:
        """Say nothing."""
