"""TLS, client certificates and tokens of a running server, and what becomes of files that change."""

import http.client
import json
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from toolbox.builders import headless
from toolbox.running_kubectl import Kubectl, find_kubectl
from toolbox.running_server import Reply, RunningServer, svcdns
from toolbox.waiting import GUARD_SECONDS, wait_for

from svcdns.cli.certificates import make_ca, make_client

SERVICES = "/api/v1/namespaces/default/services"
REFUSED = "(?i)alert|reset|eof|broken pipe|closed"
"""How the end of a handshake looks like to the client."""
CONFIG = """[api]
hints = false
tls_cert = "{0}/server.crt"
tls_key = "{0}/server.key"
client_ca = "{0}/ca.crt"
tokens = "{0}/tokens"

[[api.grant]]
group = "developers"
role = "edit"
namespaces = ["default"]
"""


def done(*arguments: object, stdin: str = "", **environ: str) -> str:
    ran = svcdns(*arguments, stdin=stdin, **environ)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.strip()


class Api:
    """One connection after the other to the API over TLS, or one that is kept."""

    def __init__(self, server: RunningServer, certs: Path) -> None:
        self.address = server.api.removeprefix("http://")
        self.certs = certs

    def context(self, client: str = "", ca: str = "ca.crt") -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(self.certs / ca))
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        if client:
            context.load_cert_chain(self.certs / f"{client}.crt", self.certs / f"{client}.key")
        return context

    def connection(self, client: str = "", **options: Any) -> http.client.HTTPSConnection:
        context = self.context(client, **options)
        return http.client.HTTPSConnection(self.address, context=context, timeout=GUARD_SECONDS)

    def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        client: str = "",
        token: str = "",
        over: http.client.HTTPSConnection | None = None,
    ) -> Reply:
        connection = over or self.connection(client)
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        connection.request(method, path, json.dumps(body) if body else None, headers)
        answer = connection.getresponse()
        reply = Reply(answer.status, dict(answer.getheaders()), answer.read().decode())
        if over is None:
            connection.close()
        return reply

    def serial(self, ca: str = "ca.crt") -> str:
        """Return the serial number of the server's certificate."""
        with self.plain() as plain, self.secure(plain, ca) as secure:
            certificate = secure.getpeercert()
            assert certificate
            return str(certificate["serialNumber"])

    def plain(self) -> socket.socket:
        """Return a connection on which nobody has spoken TLS yet."""
        host, _, port = self.address.rpartition(":")
        return socket.create_connection((host, int(port)), timeout=GUARD_SECONDS)

    def secure(self, plain: socket.socket, ca: str = "ca.crt") -> ssl.SSLSocket:
        return self.context(ca=ca).wrap_socket(plain, server_hostname=self.address.rpartition(":")[0])


@pytest.fixture(scope="module")
def certs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tls") / "certs"
    done("certs", "init", "--dir", folder)
    done("certs", "client", "--dir", folder, "--name", "dev", "--group", "developers", "--group", "x")
    done("certs", "client", "--dir", folder, "--name", "nobody")
    return folder


@pytest.fixture(scope="module")
def tokens(certs: Path) -> dict[str, str]:
    return {
        name: done("token", "create", "--file", certs / "tokens", "--name", name, "--role", role, *more)
        for name, role, *more in (("ci", "edit", "--namespace", "default"), ("watcher", "view"))
    }


@pytest.fixture(scope="module")
def server(certs: Path, tokens: dict[str, str]) -> Iterator[RunningServer]:
    with RunningServer(workers=1, config=CONFIG.format(certs)) as running:
        yield running


@pytest.fixture(scope="module")
def api(server: RunningServer, certs: Path) -> Api:
    return Api(server, certs)


# Who it is


def test_without_credentials_there_is_nothing_but_health(api: Api) -> None:
    reply = api.ask("GET", SERVICES)
    assert (reply.status, reply.json["kind"], reply.json["reason"]) == (401, "Status", "Unauthorized")
    assert reply.headers["WWW-Authenticate"] == 'Bearer realm="svcdns"'
    assert api.ask("GET", "/readyz").status == 200


def test_a_token_opens_its_namespace(api: Api, tokens: dict[str, str]) -> None:
    assert api.ask("POST", SERVICES, headless("by-token"), token=tokens["ci"]).status == 201
    assert api.ask("GET", "/api/v1/services", token=tokens["ci"]).status == 403
    assert api.ask("GET", "/metrics", token=tokens["ci"]).status == 403
    assert api.ask("GET", "/metrics", token=tokens["watcher"]).status == 200
    assert api.ask("POST", SERVICES, headless("x"), token=tokens["watcher"]).status == 403


def test_cached_answers_are_forgotten_for_administrators(
    server: RunningServer, certs: Path, tokens: dict[str, str], tmp_path: Path
) -> None:
    """The server forwards nothing, which only those hear who may."""
    done("certs", "init", "--dir", tmp_path / "others")
    config = ("--data", server.data, "--config", server.folder / "svcdns.toml")
    remedy = "; allowed: --token or --certs of an administrator"
    for arguments, said in {
        ("--certs", certs): "the cache can't be flushed: nothing is forwarded, as upstreams in [forward] is",
        ("--ca", certs / "ca.crt"): f"Unauthorized{remedy}",
        ("--ca", certs / "ca.crt", "--token", tokens["ci"]): f'cannot delete path "/cache"{remedy}',
        ("--certs", tmp_path / "others"): "its certificate is not to be trusted: ",
    }.items():
        ran = svcdns("cache", "flush", *config, *arguments)
        assert (ran.returncode, ran.stdout, ran.stderr.count("\n")) == (1, "", 1)
        assert said in ran.stderr
    ran = svcdns("cache", "flush", *config, "--ca", tmp_path / "none.crt")
    assert (ran.returncode, "the certificates can't be used: no such file" in ran.stderr) == (2, True)


def test_a_client_certificate_opens_what_its_groups_are_granted(api: Api) -> None:
    shop = {"metadata": {"name": "shop"}}
    assert api.ask("POST", "/api/v1/namespaces", shop, client="client").status == 201
    assert api.ask("POST", SERVICES, headless("by-dev"), client="dev").status == 201
    assert api.ask("GET", "/api/v1/namespaces/shop/services", client="dev").status == 403
    refused = api.ask("GET", SERVICES, client="nobody")
    assert refused.status == 403
    assert 'User "nobody" cannot list resource "services"' in refused.json["message"]


def shaken(api: Api, client: str) -> int:
    """Return the status of a request with this client certificate; raises OSError when TLS ends it."""
    return api.ask("GET", SERVICES, client=client).status


def test_certificates_of_others_are_refused_in_the_handshake(api: Api, certs: Path) -> None:
    pair = make_client(make_ca(), "admin", ["svcdns:admins"])
    (certs / "stranger.crt").write_bytes(pair.certificate_pem)
    (certs / "stranger.key").write_bytes(pair.key_pem)
    for client in ("stranger", "server"):  # another CA; our CA, but not for clients
        with pytest.raises(OSError, match=REFUSED):
            shaken(api, client)


def test_what_is_no_tls_does_no_harm(server: RunningServer, api: Api) -> None:
    for octets in (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\x16\x03\x01\x02\x00\x01", b"\0" * 4096):
        with api.plain() as plain:
            plain.sendall(octets)
            plain.shutdown(socket.SHUT_WR)
            while plain.recv(4096):
                pass
    assert api.ask("GET", "/livez").status == 200
    assert "Traceback" not in server.log()


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion")
def test_old_versions_of_tls_are_refused(api: Api) -> None:
    context = api.context()
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = ssl.TLSVersion.TLSv1
    context.maximum_version = ssl.TLSVersion.TLSv1_1
    connection = http.client.HTTPSConnection(api.address, context=context, timeout=GUARD_SECONDS)
    with pytest.raises(ssl.SSLError):
        connection.request("GET", "/livez")


# What is written down


def test_each_write_leaves_one_line_and_no_token(
    server: RunningServer, api: Api, tokens: dict[str, str]
) -> None:
    api.ask("DELETE", f"{SERVICES}/audited", token=tokens["ci"])
    lines = [line for line in server.log().splitlines() if "svcdns.audit" in line and "audited" in line]
    assert len(lines) == 1
    entry = json.loads(lines[0].partition("svcdns.audit: ")[2])
    assert entry.pop("time")
    assert entry == {
        "user": "ci",
        "verb": "delete",
        "resource": "services",
        "namespace": "default",
        "name": "audited",
        "code": 404,
        "client": "127.0.0.1",
    }
    assert not any(token in server.log() for token in tokens.values())


def test_not_even_a_request_that_can_not_be_read_gets_its_token_logged(
    server: RunningServer, api: Api, tokens: dict[str, str]
) -> None:
    with api.plain() as plain, api.secure(plain) as secure:
        secure.sendall(f"GET / HTTP/1.1\r\nAuthorization: Bearer {tokens['ci']}\x01\r\n\r\n".encode())
        assert b" 400 " in secure.recv(4096)
    wait_for(lambda: "127.0.0.1 sent what is no HTTP" in server.log(), "the line")
    assert tokens["ci"] not in server.log()
    assert "Traceback" not in server.log()


# kubectl


@pytest.fixture
def kubectl(api: Api, tmp_path: Path) -> Kubectl:
    if not find_kubectl():
        pytest.skip("kubectl is not installed here")
    return Kubectl(f"https://{api.address}", tmp_path)


def configured(kubectl: Kubectl, *arguments: object, stdin: str = "", **environ: str) -> None:
    file = kubectl.folder / "kubeconfig"
    file.unlink(missing_ok=True)
    done("kubeconfig", "--output", file, *arguments, stdin=stdin, **environ)
    assert file.stat().st_mode & 0o777 == 0o600
    kubectl.environ["KUBECONFIG"] = str(file)


def test_kubectl_with_a_token(kubectl: Kubectl, api: Api, certs: Path, tokens: dict[str, str]) -> None:
    config = ["--server", f"https://{api.address}", "--ca", certs / "ca.crt", "--namespace", "default"]
    configured(kubectl, *config, "--token", "-", stdin=tokens["ci"] + "\n")
    body = headless("by-kubectl")
    assert kubectl.apply(body) == "service/by-kubectl created\n"
    assert kubectl("get", "svc", "by-kubectl", "-o", "name") == "service/by-kubectl\n"
    assert "Username   ci\n" in kubectl("auth", "whoami").replace("Username    ", "Username   ")
    assert kubectl("auth", "can-i", "create", "services") == "yes\n"
    for asked in (["create", "services", "-n", "shop"], ["list", "services", "-A"], ["create", "namespaces"]):
        ran = kubectl.run("auth", "can-i", *asked)
        assert (ran.returncode, ran.stdout) == (1, "no\n"), ran.stderr
    expected = 'User "ci" cannot list resource "services" in API group "" at the cluster scope'
    refused = kubectl.refused("get", "services", "-A")
    assert refused == f"Error from server (Forbidden): services is forbidden: {expected}\n"
    expected = 'User "ci" cannot get resource "services" in API group "" in the namespace "bank"'
    refused = kubectl.refused("get", "services", "x", "-n", "bank")
    assert refused == f'Error from server (Forbidden): services "x" is forbidden: {expected}\n'
    assert kubectl("get", "ns", "default", "-o", "name") == "namespace/default\n"
    refused = kubectl.refused("get", "services", "--as", "admin")
    assert 'User "ci" cannot impersonate resource "users"' in refused


def test_kubectl_with_a_client_certificate(kubectl: Kubectl, server: RunningServer, certs: Path) -> None:
    # no --server: where it listens stands in its data folder
    config = server.folder / "svcdns.toml"
    configured(kubectl, "--config", config, "--certs", certs, SVCDNS_DATA=str(server.data))
    assert kubectl("create", "namespace", "by-admin") == "namespace/by-admin created\n"
    assert "svcdns:admins" in kubectl("auth", "whoami")
    assert kubectl("auth", "can-i", "*", "*") == "yes\n"
    assert kubectl("delete", "namespace", "by-admin") == 'namespace "by-admin" deleted\n'


def test_kubectl_with_a_wrong_token_or_ca(
    kubectl: Kubectl, api: Api, certs: Path, tokens: dict[str, str], tmp_path: Path
) -> None:
    url = f"https://{api.address}"
    configured(kubectl, "--server", url, "--ca", certs / "ca.crt", "--token", "wrong")
    assert "You must be logged in to the server" in kubectl.refused("get", "svc")
    (tmp_path / "other.crt").write_bytes(make_ca().certificate_pem)
    configured(kubectl, "--server", url, "--ca", tmp_path / "other.crt", "--token", tokens["ci"])
    assert "certificate signed by unknown authority" in kubectl.refused("get", "svc")


def test_the_python_client_with_a_kubeconfig(
    api: Api, certs: Path, tokens: dict[str, str], tmp_path: Path
) -> None:
    kubernetes = pytest.importorskip("kubernetes")
    url = f"https://{api.address}"
    for more in (
        ["--token", tokens["ci"]],
        ["--client-cert", certs / "dev.crt", "--client-key", certs / "dev.key"],
    ):
        file = tmp_path / f"kubeconfig{len(more)}"
        done("kubeconfig", "--server", url, "--ca", certs / "ca.crt", "--output", file, *more)
        core = kubernetes.client.CoreV1Api(kubernetes.config.new_client_from_config(str(file)))
        assert core.list_namespaced_service("default").kind == "ServiceList"
        with pytest.raises(kubernetes.client.ApiException) as refused:
            core.list_service_for_all_namespaces()
        assert refused.value.status == 403


# Files that change


Own = tuple[RunningServer, Api, Path, str]


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Own]:
    """A server whose files a test may change."""
    certs = tmp_path / "certs"
    done("certs", "init", "--dir", certs)
    token = done("token", "create", "--file", certs / "tokens", "--name", "ci", "--role", "edit")
    with RunningServer(workers=1, config=CONFIG.format(certs)) as running:
        yield running, Api(running, certs), certs, token


def test_new_certificates_are_taken_and_open_connections_live_on(own: Own) -> None:
    server, api, certs, _ = own
    kept = api.connection("client")
    assert api.ask("GET", SERVICES, over=kept).status == 200
    first = api.serial()
    done("certs", "server", "--dir", certs, "--force")
    wait_for(lambda: api.serial() != first, "the new certificate")
    assert api.ask("GET", SERVICES, over=kept).status == 200
    assert api.ask("GET", SERVICES, client="client").status == 200

    # Half of a pair: the old one stays in use.
    second = api.serial()
    key = (certs / "server.key").read_bytes()
    (certs / "server.key").write_bytes((certs / "ca.key").read_bytes())
    wait_for(lambda: "the old certificate stays in use" in server.log(), "the line in the log")
    assert api.serial() == second
    (certs / "server.key").write_bytes(key)

    # Another CA: whom the old one let in is out, on new connections.
    for name in ("ca", "client"):
        for end in ("crt", "key"):
            (certs / f"{name}.{end}").rename(certs / f"old-{name}.{end}")
    done("certs", "init", "--dir", certs, "--force")

    def is_new() -> bool:
        try:
            return api.ask("GET", SERVICES, client="client").status == 200
        except ssl.SSLError:
            return False

    wait_for(is_new, "the new CA")
    assert api.ask("GET", SERVICES, over=kept).status == 200
    old = http.client.HTTPSConnection(api.address, context=api.context(), timeout=GUARD_SECONDS)
    old._context.load_cert_chain(certs / "old-client.crt", certs / "old-client.key")
    with pytest.raises(OSError, match=REFUSED):
        api.ask("GET", SERVICES, over=old)
    assert "Traceback" not in server.log()


def test_a_revoked_token_is_refused_at_once_on_an_open_connection(own: Own) -> None:
    _, api, certs, token = own
    kept = api.connection()
    assert api.ask("GET", SERVICES, token=token, over=kept).status == 200
    done("token", "revoke", "--file", certs / "tokens", "--name", "ci")
    assert api.ask("GET", SERVICES, token=token, over=kept).status == 401
    token = done("token", "create", "--file", certs / "tokens", "--name", "ci", "--role", "view")
    assert api.ask("GET", SERVICES, token=token, over=kept).status == 200
    assert api.ask("POST", SERVICES, headless("x"), token=token, over=kept).status == 403


def test_tokens_work_over_plain_http_on_loopback(tmp_path: Path) -> None:
    token = done("token", "create", "--file", tmp_path / "tokens", "--name", "ci", "--role", "edit")
    with RunningServer(workers=1, config=f'[api]\ntokens = "{tmp_path}/tokens"\n') as server:
        assert server.get(SERVICES).status == 401
        reply = server.request("POST", SERVICES, headless("x"), headers={"Authorization": f"Bearer {token}"})
        assert reply.status == 201
        assert server.request("GET", SERVICES, headers={"Host": "evil.example"}).status == 401


def test_without_authentication_a_foreign_host_name_is_refused() -> None:
    with RunningServer(workers=1, config='[api]\nnames = ["svcdns.example.org"]\n') as server:
        assert server.get(SERVICES).status == 200
        for host, code in (("evil.example", 403), ("localhost:1", 200), ("svcdns.example.org", 200)):
            assert server.request("GET", SERVICES, headers={"Host": host}).status == code, host
