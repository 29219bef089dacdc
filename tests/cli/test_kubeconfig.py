"""`svcdns kubeconfig`: what stands in it, and mistakes."""

import base64
from pathlib import Path

import pytest
import yaml
from cli.in_process import mistake, svcdns


def test_a_kubeconfig_carries_all_that_it_needs(folder: Path) -> None:
    args = ("kubeconfig", "--server", "https://dns.example.org:8053/", "--certs", "certs", "-n", "shop")
    document = yaml.safe_load(svcdns(*args, "--name", "lab", cwd=folder).stdout)
    cluster, user = document["clusters"][0]["cluster"], document["users"][0]["user"]
    assert cluster["server"] == "https://dns.example.org:8053"
    files = {
        "ca.crt": cluster["certificate-authority-data"],
        "client.crt": user["client-certificate-data"],
        "client.key": user["client-key-data"],
    }
    for name, text in files.items():
        assert base64.b64decode(text) == (folder / "certs" / name).read_bytes()
    context = {"cluster": "lab", "user": "lab", "namespace": "shop"}
    assert (document["contexts"][0]["context"], document["current-context"]) == (context, "lab")


def test_a_kubeconfig_with_a_token(folder: Path) -> None:
    args = ("kubeconfig", "--server", "https://[2001:db8::1]:8053", "--ca", "certs/ca.crt")
    for more, stdin, environ in (
        (["--token", "svcdns_x"], "", {}),
        (["--token", "-"], "svcdns_x\n", {}),
        ([], "", {"SVCDNS_TOKEN": "svcdns_x"}),
    ):
        document = yaml.safe_load(svcdns(*args, *more, cwd=folder, stdin=stdin, **environ).stdout)
        assert document["users"][0]["user"] == {"token": "svcdns_x"}


def test_a_kubeconfig_for_plain_http(folder: Path) -> None:
    document = yaml.safe_load(svcdns("kubeconfig", cwd=folder).stdout)
    assert document["clusters"][0]["cluster"] == {"server": "http://127.0.0.1:8053"}
    assert document["users"][0]["user"] == {}
    ran = svcdns("kubeconfig", "--token", "x", cwd=folder)
    assert yaml.safe_load(ran.stdout)["users"][0]["user"] == {"token": "x"}
    assert ran.stderr == "svcdns: kubectl sends no token over plain http; other clients do\n"


def test_a_kubeconfig_is_never_written_over(folder: Path) -> None:
    assert svcdns("kubeconfig", "-o", "new", cwd=folder).returncode == 0
    assert (folder / "new").stat().st_mode & 0o777 == 0o600
    assert mistake("kubeconfig", "-o", "new", cwd=folder) == (
        "--output: new: is there already; allowed: a new file"
    )
    assert mistake("kubeconfig", "-o", "no/such", cwd=folder, code=1).startswith("no/such: ")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (
            ["--server", "http://192.0.2.1:8053", "--token", "x"],
            "http://192.0.2.1:8053: everybody on the way could",
        ),
        (
            ["--server", "http://dns.example.org", "--token", "x"],
            "read the token, and kubectl sends no token over",
        ),
        (["--certs", "certs"], "--server: http://127.0.0.1:8053: a client certificate needs https"),
        (
            ["--server", "dns.example.org:8053"],
            "--server: 'dns.example.org:8053' is no URL of a server; allowed",
        ),
        (["--server", "ftp://x"], "is no URL of a server"),
        (["--server", "https://"], "is no URL of a server"),
        (["--server", "https://x:99999"], "is no URL of a server"),
        (["--server", "https://a:b@x"], "is no URL of a server"),
        (
            ["--server", "https://x", "--ca", "nosuch"],
            "--ca: nosuch: can't be read: no such file or directory",
        ),
        (
            ["--server", "https://x", "--ca", "certs/ca.key"],
            "--ca: certs/ca.key: holds no certificate in PEM",
        ),
        (
            ["--server", "https://x", "--client-cert", "certs/client.crt"],
            "--client-cert and --client-key belong",
        ),
        (
            [
                "--server",
                "https://x",
                "--client-cert",
                "certs/client.crt",
                "--client-key",
                "certs/server.key",
            ],
            "--client-key: certs/server.key: does not belong to the certificate in certs/client.crt",
        ),
        (
            [
                "--server=https://x",
                "--client-cert=certs/client.crt",
                "--client-key=certs/client.key",
                "--token=t",
            ],
            "--token and --client-cert exclude each other",
        ),
        (["--server", "https://x", "--token", "a\nb"], "--token: is no token"),
    ],
)
def test_mistakes_of_kubeconfig(folder: Path, arguments: list[str], expected: str) -> None:
    assert expected in mistake("kubeconfig", *arguments, cwd=folder)
