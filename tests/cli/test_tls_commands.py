"""`svcdns certs` and `token`, and what `check` and `serve` say about the files of [api]."""

import os
import ssl
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cli.in_process import mistake, svcdns, write
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from svcdns import cli
from svcdns.api.auth.token_file import read
from svcdns.api.auth.token_lines import digest_of
from svcdns.cli import certificates


def certificate(file: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(file.read_bytes())


# certs


def test_certs_init_makes_all_that_tls_takes(tmp_path: Path) -> None:
    ran = svcdns(
        *("certs", "init", "--host", "DNS.example.org", "--host", "2001:DB8::1", "--host", "127.0.0.1"),
        cwd=tmp_path,
    )
    hosts = "localhost, 127.0.0.1, ::1, dns.example.org, 2001:db8::1"
    assert ran.stdout == (
        f"certs: CA, server certificate for {hosts}, client certificate for admin (svcdns:admins)\n"
    )
    certs = tmp_path / "certs"
    names = certificate(certs / "server.crt").extensions.get_extension_for_class(x509.SubjectAlternativeName)
    assert {str(name.value) for name in names.value} == set(hosts.split(", "))
    for key in certs.glob("*.key"):
        assert key.stat().st_mode & 0o777 == 0o600
    for leaf in ("server", "client"):
        days = certificate(certs / f"{leaf}.crt").not_valid_after_utc - datetime.now(UTC)
        assert timedelta(days=364) < days <= timedelta(days=365)
        certificate(certs / f"{leaf}.crt").verify_directly_issued_by(certificate(certs / "ca.crt"))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_cert_chain(certs / f"{leaf}.crt", certs / f"{leaf}.key")
    assert len(os.listdir(certs)) == 6


def test_certs_init_writes_over_nothing_unless_told_to(folder: Path) -> None:
    before = (folder / "certs" / "ca.key").read_bytes()
    line = mistake("certs", "init", cwd=folder)
    assert line == "certs/ca.crt: is there already; --force writes over it"
    assert (folder / "certs" / "ca.key").read_bytes() == before
    assert svcdns("certs", "init", "--force", cwd=folder).returncode == 0
    assert (folder / "certs" / "ca.key").read_bytes() != before


def test_certs_for_more_users_and_a_new_one_for_the_server(folder: Path) -> None:
    assert svcdns("certs", "client", "--name", "alice", "--group", "dev", cwd=folder).returncode == 0
    made = certificate(folder / "certs" / "alice.crt")
    assert made.subject.rfc4514_string() == "CN=alice,O=dev"
    made.verify_directly_issued_by(certificate(folder / "certs" / "ca.crt"))
    assert "alice.crt: is there already" in mistake("certs", "client", "--name", "alice", cwd=folder)
    assert svcdns("certs", "server", "--force", "--days", "10", cwd=folder).returncode == 0
    ends = certificate(folder / "certs" / "server.crt").not_valid_after_utc
    assert ends - datetime.now(UTC) < timedelta(days=10)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["init", "--host", "a b"], "--host: 'a b' is none; allowed: a host name or an IP address"),
        (["init", "--host", "x:8053"], "--host: 'x:8053' is none"),
        (["init", "--host", ""], "--host: '' is none"),
        (["init", "--host", "x" * 300], "is none; allowed"),
        (["init", "--days", "0"], "--days"),
        (["client", "--name", "ca", "--force"], "--name: 'ca' can't be"),
        (["client", "--name", "../x"], "--name: '../x' can't be; allowed: 1 to 64 letters, digits"),
        (["client", "--name", ""], "--name: '' can't be"),
        (
            ["client", "--name", "y", "--group", "g" * 65],
            "can't be a user or group; allowed: 1 to 64 letters",
        ),
        (
            ["client", "--name", "y", "--dir", "nosuch"],
            "nosuch/ca.crt: no such file; `svcdns certs init --dir",
        ),
        (["server", "--force", "--dir", "broken"], "broken/ca.crt: no certificate or key in PEM format"),
        (["client"], "Missing option '--name'"),
    ],
)
def test_mistakes_of_certs(folder: Path, arguments: list[str], expected: str) -> None:
    (folder / "broken").mkdir()
    for end in ("crt", "key"):
        (folder / "broken" / f"ca.{end}").write_text("nothing")
    if arguments[0] == "init":
        arguments = [*arguments, "--dir", "new"]
    assert expected in mistake("certs", *arguments, cwd=folder)
    assert not (folder / "new").exists()


def test_certs_where_they_can_not_be_written(folder: Path) -> None:
    (folder / "file").touch()
    assert mistake("certs", "init", "--dir", "file/certs", cwd=folder, code=1).startswith("file/certs: ")


def test_certs_without_cryptography_say_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(cli, "certificates")
    monkeypatch.setitem(sys.modules, "svcdns.cli.certificates", None)
    line = mistake("certs", "init", cwd=tmp_path, code=1)
    assert line.startswith("certificates need the package cryptography; ")
    assert "pip install cryptography" in line


# token


def test_a_token_is_printed_alone_and_once(tmp_path: Path) -> None:
    create = ("token", "create", "--file", "tokens", "--name", "ci", "--role", "edit", "--namespace", "shop")
    ran = svcdns(*create, "--namespace", "bank", cwd=tmp_path)
    token = ran.stdout.removesuffix("\n")
    tokens, mistakes = read(tmp_path / "tokens")
    assert not mistakes
    assert [(one.digest, one.role, one.namespaces) for one in tokens] == [
        (digest_of(token.encode()), "edit", ("shop", "bank"))
    ]
    assert token not in ran.stderr
    assert (tmp_path / "tokens").stat().st_mode & 0o777 == 0o600
    listed = svcdns("token", "list", "--file", "tokens", cwd=tmp_path).stdout
    assert [line.split() for line in listed.splitlines()] == [
        ["NAME", "ROLE", "NAMESPACES"],
        ["ci", "edit", "shop,bank"],
    ]
    assert mistake(*create, cwd=tmp_path).startswith("tokens: there is a token 'ci' already")
    assert svcdns("token", "revoke", "--file", "tokens", "--name", "ci", cwd=tmp_path).returncode == 0
    assert read(tmp_path / "tokens") == ([], [])


def test_the_configuration_names_the_file(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "svcdns.toml").write_text('[api]\ntokens = "tokens"\n')
    config = tmp_path / "etc" / "svcdns.toml"
    assert svcdns("token", "create", "--name", "a", "--config", config, cwd=tmp_path).returncode == 0
    assert svcdns("token", "create", "--name", "b", cwd=tmp_path, SVCDNS_CONFIG=str(config)).returncode == 0
    assert [one.name for one in read(tmp_path / "etc" / "tokens")[0]] == ["a", "b"]
    line = mistake("token", "create", "--name", "c", cwd=tmp_path)
    assert line == "which file? say --file FILE, or set tokens in [api] of the configuration"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["create", "--name", "a b"], "tokens: name 'a b' can't be; allowed: 1 to 63 letters"),
        (
            ["create", "--name", "a", "--role", "root"],
            "tokens: role 'root' is not known; allowed: view, node, edit, admin, heartbeat",
        ),
        (["create", "--name", "a", "--namespace", "A"], "tokens: 'A' is no namespace"),
        (["create", "--name", "a", "--namespace", "*"], "tokens: '*' is no namespace"),
        (["revoke", "--name", "a"], "tokens: there is no token 'a': no such file"),
        (["list"], "tokens: can't be read: no such file or directory"),
        (["create"], "Missing option '--name'"),
    ],
)
def test_mistakes_of_token(tmp_path: Path, arguments: list[str], expected: str) -> None:
    assert expected in mistake("token", *arguments, "--file", "tokens", cwd=tmp_path)
    assert not (tmp_path / "tokens").exists()


# What check and serve say

TLS = '[api]\ntls_cert = "certs/server.crt"\ntls_key = "certs/server.key"\n'


def encrypted(folder: Path) -> None:
    key = serialization.load_pem_private_key((folder / "certs/server.key").read_bytes(), None)
    hidden = serialization.BestAvailableEncryption(b"secret")
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, hidden)
    (folder / "certs/server.key").write_bytes(pem)


def swap(folder: Path) -> None:
    (folder / "certs/server.key").write_bytes((folder / "certs/client.key").read_bytes())


def put(name: str, text: str):  # type: ignore[no-untyped-def]
    return lambda folder: (folder / name).write_text(text)


@pytest.mark.parametrize(
    ("config", "change", "expected"),
    [
        (TLS, swap, "certs/server.key: does not belong to the certificate in "),
        (TLS, encrypted, "certs/server.key: is protected by a password, which nobody can type here"),
        (TLS, put("certs/server.crt", ""), "certs/server.crt: holds no certificate in PEM format"),
        (TLS, put("certs/server.key", "x"), "certs/server.key: holds no private key in PEM format"),
        (TLS, put("certs/server.crt", "-----BEGIN CERTIFICATE-----\nAAAA\n"), "api.tls_cert: "),
        (
            TLS,
            lambda folder: (folder / "certs/server.key").unlink(),
            "server.key: can't be read: no such file",
        ),
        (TLS + 'client_ca = "certs"', None, "certs: can't be read: is a directory"),
        (TLS + 'client_ca = "certs/server.key"', None, "server.key: holds no certificates in PEM format"),
        (TLS + 'client_ca = "certs/client.crt"', None, "client.crt: holds no certificate of a CA"),
        ('[api]\ntokens = "nosuch"', None, "nosuch: can't be read: no such file or directory; `svcdns token"),
        ('[api]\ntokens = "t"', put("t", "# \n\nsecret ci edit *"), "t: line 3: does not begin with a hash"),
        (
            '[api]\ntls_cert = "certs/server.crt"',
            None,
            "svcdns.toml:2: api.tls_cert: needs tls_key beside it",
        ),
        (
            '[api]\nclient_ca = "certs/ca.crt"',
            None,
            "svcdns.toml:2: api.client_ca: clients show certificates",
        ),
        (
            '[[api.grant]]\nuser = "a"\nrole = "view"',
            None,
            "svcdns.toml:1: api.grant: grants say who may do what",
        ),
        (
            TLS + '[[api.grant]]\nrole = "view"',
            None,
            'svcdns.toml:4: api.grant: grant 1: says not whom it is for; allowed: either user = "NAME"',
        ),
        (
            TLS + '[[api.grant]]\nuser = "a"\ngroup = "b"\nrole = "view"',
            None,
            "grant 1: says not whom it is for",
        ),
        (
            TLS + '[[api.grant]]\nuser = "a"',
            None,
            "grant 1: role 'None' is not known; allowed: view, node, edit, admin, heartbeat",
        ),
        (
            TLS + '[[api.grant]]\nuser = "a"\nrole = "view"\nnamespaces = ["A"]',
            None,
            "grant 1: namespaces: 'A' is no namespace",
        ),
        (TLS + '[[api.grant]]\nuser = "a"\nrole = "view"\nnames = []', None, "grant 1: unknown key 'names'"),
        (
            TLS + "grant = 5",
            None,
            "api.grant: 5 is no list of tables; write [[api.grant]] on a line of its own",
        ),
        (
            TLS + 'listen = "0.0.0.0:0"',
            None,
            "svcdns.toml:4: api.listen: 0.0.0.0:0 can be reached from other",
        ),
        (
            '[api]\nlisten = "0.0.0.0:0"\ntokens = "t"',
            put("t", ""),
            "and takes tls_cert and tls_key together with",
        ),
        (
            '[api]\nnames = ["x:80"]',
            None,
            "api.names: 'x:80' is no host name; allowed: such as dns.example.org",
        ),
    ],
)
def test_check_and_serve_say_what_is_wrong(folder: Path, config: str, change, expected: str) -> None:  # type: ignore[no-untyped-def]
    (folder / "svcdns.toml").write_text(config + "\n")
    if change:
        change(folder)
    for command in ("check", "serve"):
        line = mistake(command, "--config", "svcdns.toml", cwd=folder)
        assert expected in line
        assert "secret" not in line
    assert not (folder / "svcdns-data").exists()


def test_what_only_clients_mind_is_a_warning(folder: Path) -> None:
    (folder / "svcdns.toml").write_text(TLS)
    ca = certificates.read_pair(
        (folder / "certs/ca.crt").read_bytes(), (folder / "certs/ca.key").read_bytes()
    )

    def warned() -> str:
        ran = svcdns("check", "--config", "svcdns.toml", cwd=folder)
        assert ran.returncode == 0, ran
        return ran.stderr

    assert warned() == ""
    write(folder, "server", certificates.make_server(ca, ["localhost"], days=5))
    assert "server.crt: expires on " in warned()
    write(folder, "server", certificates.make_client(ca, "not a server", []))
    assert "server.crt: clients will refuse it: unsuitable certificate purpose" in warned()
    expired = certificates.make_server(ca, ["localhost"], days=-1 / 1440)  # type: ignore[arg-type]
    write(folder, "server", expired)
    assert "server.crt: clients will refuse it: certificate has expired" in warned()
    write(folder, "server", certificates.make_server(ca, ["localhost"]))
    (folder / "certs/server.key").chmod(0o644)
    assert "server.key: everybody on this machine can read it (chmod 600)" in warned()
