"""`svcdns check` with a registry on etcd: what it finds out, from a real one."""

import asyncio
import subprocess
import threading
from collections.abc import Callable
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from cli.in_process import svcdns
from toolbox.etcd_access import AS_ADMINISTRATOR, FAST_PASSWORDS, certificate, have_user, write
from toolbox.running_etcd import RunningEtcd

from svcdns.cli.certificates import make_ca
from svcdns.etcd.client import Etcd, Full
from svcdns.etcd.messages import Put, Status, read_status
from svcdns.server.etcd_preflight import Asked, judge

NOWHERE = "http://127.0.0.1:1"
OTHERS = '{"layout": 1, "cluster_domain": "corp.test", "ranges": [], "registry": "r", "serials_from": 1}'
LAYOUT = (
    '{"layout": 1, "cluster_domain": "cluster.local", "ranges": ["10.96.0.0/12", "30000-32767"],'
    ' "registry": "r", "serials_from": 1}'
)


def checked(folder: Path, *urls: str, more: str = "") -> subprocess.CompletedProcess[str]:
    (folder / "svcdns.toml").write_text(f"[store]\netcd = {list(urls)}\n{more}")
    return svcdns("check", "--config", "svcdns.toml", cwd=folder)


def put(etcd: RunningEtcd, key: str, value: str) -> None:
    assert etcd.ctl("put", key, value) == "OK\n"


def test_an_etcd_that_is_there_is_no_mistake(etcd: RunningEtcd, tmp_path: Path) -> None:
    fine = checked(tmp_path, *etcd.endpoints)
    assert (fine.returncode, fine.stderr) == (0, "")
    assert etcd.ctl("get", "", "--prefix", "--keys-only") == "", "nothing was written"
    one_away = checked(tmp_path, NOWHERE, *etcd.endpoints)
    assert one_away.returncode == 0
    assert f"store.etcd: {NOWHERE} can't be used now: " in one_away.stderr


def test_an_etcd_that_is_away_is_a_warning_and_each_member_named(tmp_path: Path) -> None:
    away = checked(tmp_path, NOWHERE, "http://127.0.0.1:2")
    assert away.returncode == 0, "a server would wait for it"
    assert [line[: len("svcdns: store.etcd: " + NOWHERE)] for line in away.stderr.splitlines()] == [
        f"svcdns: store.etcd: {NOWHERE}",
        "svcdns: store.etcd: http://127.0.0.1:2",
    ]


def test_what_is_no_etcd_is_a_mistake(tmp_path: Path) -> None:
    class NoEtcd(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.send_error(404)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), NoEtcd) as other:
        threading.Thread(target=other.serve_forever).start()
        found = checked(tmp_path, f"http://127.0.0.1:{other.server_port}")
        other.shutdown()
    assert found.returncode == 2
    assert "the ports for clients" in found.stderr


@pytest.mark.parametrize(
    ("stands", "said"),
    [
        ('{"layout": 2}', "says layout 2, this svcdns has 1"),
        ("{", "is not what svcdns writes there"),
        (
            '{"layout": 1, "cluster_domain": "corp.test", "ranges": [], "registry": "r", "serials_from": 1}',
            "cluster_domain: corp.test in etcd, cluster.local here",
        ),
    ],
)
def test_another_registry_at_the_prefix_is_named(
    etcd: RunningEtcd, tmp_path: Path, stands: str, said: str
) -> None:
    put(etcd, "/other/layout", stands)
    found = checked(tmp_path, *etcd.endpoints, more='etcd_prefix = "/other/"\n')
    assert found.returncode == 2
    assert "/other/layout" in found.stderr
    assert said in found.stderr


def test_an_alarm_is_named_with_what_ends_it(need: Callable[..., str], tmp_path: Path) -> None:
    need("etcd")

    async def fill(client: Etcd) -> None:
        with pytest.raises(Full, match="NOSPACE"):
            for number in range(100):
                await client.transaction([], [Put(b"%d" % number, b"v" * 100_000)])
        await client.close()

    with RunningEtcd(options=["--quota-backend-bytes", "600000"]) as etcd:
        asyncio.run(fill(Etcd(etcd.endpoints)))
        full = checked(tmp_path, *etcd.endpoints)
    assert full.returncode == 2
    assert "alarm NOSPACE" in full.stderr
    assert "etcdctl alarm disarm" in full.stderr


def test_a_user_that_is_wrong_is_a_mistake(etcd: RunningEtcd, tmp_path: Path) -> None:
    (tmp_path / "password").write_text("secret")
    user = 'etcd_user = "svcdns"\netcd_password_file = "password"\n'
    found = checked(tmp_path, *etcd.endpoints, more=user)
    assert found.returncode == 2
    assert "authentication is not enabled" in found.stderr
    assert "store.etcd_user" in found.stderr
    gone = checked(tmp_path, *etcd.endpoints, more=user.replace('"password"', '"gone"'))
    assert "store.etcd_password_file" in gone.stderr


def status(
    version: str = "3.5.9", cluster: int = 7, leader: int = 1, errors: str = "[]", member: int = 0
) -> Status:
    return read_status(
        b'{"header":{"cluster_id":"%d","member_id":"%d"},"version":"%s","leader":"%d","errors":%s}'
        % (cluster, member, version.encode(), leader, errors.encode())
    )


@pytest.mark.parametrize("version", ["3.3.25", "3.7.0", "4.0.0", "2.2", "", "x", "3", "3." + "9" * 50])
def test_a_version_that_is_not_tried_is_a_warning(version: str) -> None:
    mistakes, [warning] = judge([Asked("a", status(version), "")])
    assert not mistakes
    assert "3.4 to 3.6" in warning
    assert len(warning) < 150


@pytest.mark.parametrize("version", ["3.4.0", "3.4.23", "3.5.8", "3.6.1", "3.6.0-rc.1"])
def test_a_version_that_is_tried_is_not_spoken_of(version: str) -> None:
    assert judge([Asked("a", status(version), "")]) == ([], [])


def test_members_of_two_clusters_and_members_without_a_leader_are_told() -> None:
    [mistake], [warning] = judge([Asked("a", status(), ""), Asked("b", status(cluster=8, leader=0), "")])
    assert "b is of another etcd than a" in mistake
    assert "b has no leader" in warning


def test_a_member_with_two_names_is_told() -> None:
    members = {"a": 1, "b": 2, "c": 1}
    mistakes, [warning] = judge([Asked(url, status(member=which), "") for url, which in members.items()])
    assert not mistakes
    assert "c is the same member as a" in warning


def test_etcds_that_were_begun_alike_are_told_by_what_is_in_them(etcd: RunningEtcd, tmp_path: Path) -> None:
    with RunningEtcd(like=etcd) as other:
        warned = checked(tmp_path, *etcd.endpoints, *other.endpoints)
        assert "the same member" in warned.stderr and warned.returncode == 0, "nothing is in either yet"
        put(etcd, "/svcdns/layout", LAYOUT)
        differs = checked(tmp_path, *etcd.endpoints, *other.endpoints)
    assert differs.returncode == 2
    assert f"{other.endpoints[0]} has not the registry that the others have" in differs.stderr
    assert etcd.ctl("del", "/svcdns/layout") == "1\n"


def test_alarms_of_all_members_are_told_once() -> None:
    alarms = '["memberID:1 alarm:NOSPACE ", "memberID:2 alarm:CORRUPT ", "memberID:2 alarm:NOSPACE"]'
    mistakes, _ = judge([Asked(url, status(errors=alarms), "") for url in "ab"])
    assert [mistake.split(":")[1] for mistake in mistakes] == [" alarm CORRUPT", " alarm NOSPACE"]


def test_members_that_tell_administrators_alone_how_they_are_are_there() -> None:
    reticent = Asked("a", None, "permission denied", is_reticent=True)
    mistakes, [warning] = judge([reticent])
    assert not mistakes
    assert "a tells administrators alone" in warning
    mistakes, warnings = judge([reticent, Asked("b", status("2.2"), "")])
    assert not mistakes
    assert ["a tells" in warnings[0], "b is etcd 2.2" in warnings[1]] == [True, True]


def test_a_user_of_any_version_is_told_of_its_registry(need: Callable[..., str], tmp_path: Path) -> None:
    need("etcd")
    (tmp_path / "password").write_text("secret")
    user = 'etcd_user = "svcdns"\netcd_password_file = "password"\n'
    with RunningEtcd(options=FAST_PASSWORDS, more=AS_ADMINISTRATOR) as etcd:
        have_user(etcd, "secret")
        assert checked(tmp_path, *etcd.endpoints, more=user).returncode == 0
        put(etcd, "/svcdns/layout", OTHERS)
        differs = checked(tmp_path, *etcd.endpoints, more=user)
    assert differs.returncode == 2
    assert "cluster_domain: corp.test in etcd" in differs.stderr


@pytest.mark.parametrize(("seconds", "code"), [(-1, 2), (3600, 0)])
def test_a_certificate_that_has_run_out_is_a_mistake_and_one_that_soon_does_a_warning(
    tmp_path: Path, seconds: int, code: int
) -> None:
    ca = make_ca()
    write(tmp_path, "ca", ca)
    write(tmp_path, "client", certificate(ca, "client", good_for=timedelta(seconds=seconds)))
    files = 'etcd_ca = "ca.crt"\netcd_certificate = "client.crt"\netcd_key = "client.key"\n'
    found = checked(tmp_path, "https://127.0.0.1:1", more=files)
    assert found.returncode == code
    [said] = [line for line in found.stderr.splitlines() if "store.etcd_certificate" in line]
    assert "client.crt" in said
    assert ("expired" if code else "expires on") in said
