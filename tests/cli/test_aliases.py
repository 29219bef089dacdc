"""Names of one's own on the command line, in manifests, over restarts, and in a backup."""

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cli.in_process import svcdns
from toolbox.running_server import RunningServer

Run = Callable[..., subprocess.CompletedProcess[str]]
ZONES = '[dns]\nalias_zones = ["home.arpa"]\n'


@pytest.fixture(scope="module")
def server() -> Iterator[RunningServer]:
    with RunningServer(workers=1, config=ZONES) as running:
        yield running


@pytest.fixture
def run(server: RunningServer, tmp_path: Path) -> Iterator[Run]:
    """Run a command as somebody on the machine of the server."""

    def call(*arguments: object) -> subprocess.CompletedProcess[str]:
        return svcdns(*arguments, cwd=tmp_path, SVCDNS_DATA=str(server.data))

    yield call
    for kind in ("services", "pods"):
        names = call("get", kind, "-o", "name").stdout.split()
        if names:
            call("delete", kind, *(name.partition("/")[2] for name in names))


def test_a_name_of_its_own_comes_and_goes(run: Run, server: RunningServer) -> None:
    added = run("add", "nas", "--alias", "nas.home.arpa", "--alias", "Files.home.arpa.", "192.168.1.20")
    assert added.stdout.splitlines() == [
        "nas.default.svc.cluster.local answers 192.168.1.20",
        "nas.home.arpa answers 192.168.1.20",
        "files.home.arpa answers 192.168.1.20",
    ]
    assert server.answers("nas.home.arpa") == server.answers("files.home.arpa") == ["192.168.1.20"]
    assert run("add", "nas", "--alias", "nas.home.arpa", "--alias", "*.nas.home.arpa").returncode == 0
    assert server.answers("x.nas.home.arpa") == ["192.168.1.20"]
    assert run("add", "nas", "--port", "http=80").returncode == 0
    assert server.answers("nas.home.arpa") == ["192.168.1.20"], "what is not spoken of stays"
    removed = run("remove", "nas", "--alias", "NAS.home.arpa")
    assert removed.stdout == "alias/nas.home.arpa removed\n"
    assert server.answers("nas.home.arpa") == []
    assert server.answers("files.home.arpa") == ["192.168.1.20"]
    assert run("remove", "nas", "--alias", "nas.home.arpa").returncode == 1
    assert run("remove", "nas").returncode == 0
    assert server.answers("files.home.arpa") == []


def test_why_says_whose_a_name_is(run: Run) -> None:
    run("add", "a", "--alias", "nas.home.arpa", "--alias", "*.wild.home.arpa", "192.168.1.20")
    run("add", "b", "--alias", "nas.home.arpa", "--alias", "nas.example.org", "192.168.1.21")
    why = run("why", "nas.home.arpa")
    assert why.returncode == 0
    assert "from alias nas.home.arpa" in why.stdout and "from Service default/" in why.stdout
    assert "asks for the alias nas.home.arpa too" in why.stdout
    assert "from alias *.wild.home.arpa" in run("why", "x.wild.home.arpa").stdout
    assert "from Service default/a" in run("why", "192-168-1-20.x.wild.home.arpa").stdout
    for asked, expected in (
        ("nas.example.org", "Service default/b asks for it as an alias: nas.example.org is not answered"),
        ("nas.example.org", "add example.org to [dns] alias_zones"),
        ("none.home.arpa", "no Service has the alias none.home.arpa"),
        ("none.home.arpa", "zone files and upstreams answer for it"),
        ("_http._tcp.none.home.arpa", "no Service has the alias _http._tcp.none.home.arpa"),
    ):
        why = run("why", asked)
        assert why.returncode == 1
        assert expected in why.stdout


def test_status_shows_the_zones_for_aliases(run: Run) -> None:
    assert "zone       home.arpa. (aliases)" in run("status").stdout


@pytest.mark.parametrize("alias", ["a..b", "-x.home.arpa", "a.*.home.arpa", "", "a b"])
def test_what_is_no_name_is_a_mistake(run: Run, alias: str) -> None:
    for command in ("add", "remove"):
        ran = run(command, "nas", "--alias", alias)
        assert ran.returncode == 2
        assert ran.stderr.startswith(f"svcdns: an alias can't be {alias!r}: ")


def test_what_is_not_answered_is_a_warning(run: Run) -> None:
    ran = run("add", "nas", "--alias", "nas.example.org", "192.168.1.20")
    assert ran.returncode == 0
    assert "add example.org to [dns] alias_zones" in ran.stderr
    assert "nas.example.org answers nothing yet" in ran.stdout


MANIFEST = """
{apiVersion: v1, kind: Service, metadata: {name: nas, annotations: {svcdns.io/aliases: nas.home.arpa}},
 spec: {clusterIP: 10.96.0.10, ports: [{port: 80}]}}
"""


def test_manifests_and_a_backup_bring_aliases(tmp_path: Path) -> None:
    (tmp_path / "nas.yaml").write_text(MANIFEST)
    archive = tmp_path / "backup"
    with RunningServer(workers=1, config=f'manifests = ["{tmp_path}/nas.yaml"]\n{ZONES}') as server:
        assert server.answers("nas.home.arpa") == ["10.96.0.10"]
        made = svcdns("backup", archive, cwd=tmp_path, SVCDNS_DATA=str(server.data))
        assert made.returncode == 0, made.stderr
    restored = tmp_path / "restored"
    done = svcdns("restore", archive, cwd=tmp_path, SVCDNS_DATA=str(restored))
    assert done.returncode == 0, done.stderr
    with RunningServer(workers=1, config=ZONES, data=restored) as server:
        assert server.answers("nas.home.arpa") == ["10.96.0.10"]
