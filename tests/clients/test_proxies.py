"""nginx and HAProxy with svcdns as their resolver: requests reach the endpoints that a name has now.

nginx asks for addresses, HAProxy for SRV too: `resolve service=` of nginx came with 1.27.
"""

from __future__ import annotations

import http.client
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from clients.resolving import BOTH, CLUSTER_IP, DB, NO_A, NOWHERE, SRV, WEB, ZONE, Resolving
from toolbox.waiting import GUARD_SECONDS, wait_for

NGINX = """
daemon off;
master_process off;
error_log stderr info;
pid {folder}/pid;
events {{}}
http {{
  access_log off;
  client_body_temp_path {folder}/b;
  proxy_temp_path {folder}/p;
  fastcgi_temp_path {folder}/f;
  uwsgi_temp_path {folder}/u;
  scgi_temp_path {folder}/s;
  resolver {dns};
  server {{
    listen unix:{folder}/socket;
    location / {{ proxy_pass http://$arg_name:{port}/; }}
  }}
}}
"""
HAPROXY = """
global
  stats socket {folder}/admin
defaults
  mode http
  timeout connect 5s
  timeout client 20s
  timeout server 20s
resolvers svcdns
  nameserver svcdns {dns}
  accepted_payload_size 8192
  timeout resolve 100ms
  timeout retry 200ms
  hold valid 100ms
  hold obsolete 0s
frontend all
  bind unix@{folder}/socket
  use_backend %[path,field(2,/)]
backend web
  server-template s 1 {web}:{port} resolvers svcdns init-addr none resolve-prefer ipv4
backend db
  server-template s 4 {db}:{port} resolvers svcdns init-addr none resolve-prefer ipv4
backend srv
  server-template s 4 {srv} resolvers svcdns init-addr none resolve-prefer ipv4
backend nowhere
  server-template s 1 {nowhere}:{port} resolvers svcdns init-addr none
backend no_a
  server-template s 1 {no_a}:{port} resolvers svcdns init-addr none resolve-prefer ipv4
"""


@pytest.fixture(scope="module")
def resolving() -> Iterator[Resolving]:
    with Resolving() as made:
        yield made


class Proxy:
    """A proxy that listens on a socket in a folder."""

    def __init__(self, command: list[str], folder: Path) -> None:
        self._socket = folder / "socket"
        self._log = (folder / "log").open("wb")
        self._process = subprocess.Popen(command, stdout=self._log, stderr=self._log)
        try:
            wait_for(lambda: self._is_up(folder), "the proxy to listen")
        except BaseException:
            self.stop()
            raise

    def _is_up(self, folder: Path) -> bool:
        assert self._process.poll() is None, (folder / "log").read_text()
        with socket.socket(socket.AF_UNIX) as trying:
            return trying.connect_ex(str(self._socket)) == 0

    def get(self, target: str) -> tuple[int, str]:
        """GET; return the status and the body."""
        connection = http.client.HTTPConnection("proxy", timeout=GUARD_SECONDS)
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.settimeout(GUARD_SECONDS)
        try:
            connection.sock.connect(str(self._socket))
            connection.request("GET", target)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def reached(self, target: str) -> list[str]:
        """Return the addresses that requests reach, each once, and statuses other than 200.

        There are so many that none of two addresses is left out by chance: nginx takes one at random.
        """
        answers = {self.get(target) for _ in range(40)}
        return sorted(body if status == 200 else str(status) for status, body in answers)

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(GUARD_SECONDS)
        self._log.close()


@pytest.fixture
def nginx(need: Callable[..., str], resolving: Resolving, tmp_path: Path) -> Iterator[Proxy]:
    file = tmp_path / "nginx.conf"
    host, port = resolving.dns
    file.write_text(NGINX.format(folder=tmp_path, dns=f"{host}:{port} ipv6=off", port=resolving.port))
    made = Proxy([need("nginx"), "-p", str(tmp_path), "-e", "stderr", "-c", str(file)], tmp_path)
    yield made
    made.stop()


@pytest.fixture
def haproxy(need: Callable[..., str], resolving: Resolving, tmp_path: Path) -> Iterator[Proxy]:
    file = tmp_path / "haproxy.cfg"
    host, port = resolving.dns
    names = {"web": WEB, "db": DB, "srv": SRV, "nowhere": NOWHERE, "no_a": NO_A}
    file.write_text(HAPROXY.format(folder=tmp_path, dns=f"{host}:{port}", port=resolving.port, **names))
    made = Proxy([need("haproxy"), "-db", "-f", str(file)], tmp_path)
    yield made
    made.stop()


def test_nginx_reaches_what_a_name_has_now(nginx: Proxy, resolving: Resolving) -> None:
    assert nginx.reached(f"/?name={WEB}") == [CLUSTER_IP]
    assert nginx.get(f"/?name={NOWHERE}")[0] == nginx.get(f"/?name={NO_A}")[0] == 502
    resolving.follows_flips(lambda: nginx.reached(f"/?name={DB}"))
    wait_for(lambda: nginx.reached(f"/?name=alias.{ZONE}") == BOTH, "what the alias stands for")


def test_haproxy_reaches_what_a_name_has_now(haproxy: Proxy, resolving: Resolving) -> None:
    wait_for(lambda: haproxy.reached("/web") == [CLUSTER_IP], "the cluster IP")
    for backend in ("/db", "/srv"):
        resolving.follows_flips(lambda backend=backend: haproxy.reached(backend))
    assert haproxy.reached("/nowhere") == haproxy.reached("/no_a") == ["503"]
