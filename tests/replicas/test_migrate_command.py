"""`svcdns migrate`, and backup and restore where the registry is on etcd, as somebody types them."""

from pathlib import Path

import pytest
from toolbox.builders import headless, pod, service
from toolbox.running_etcd import RunningEtcd
from toolbox.running_server import RunningServer, svcdns
from toolbox.waiting import wait_for

SERVICES, PODS = "/api/v1/namespaces/default/services", "/api/v1/namespaces/default/pods"
NAME = "web.default.svc.cluster.local"


def place(etcd: RunningEtcd, prefix: str = "") -> str:
    """Return an etcd as `svcdns migrate` wants it."""
    return etcd.endpoints[0].replace("http://", "etcd://") + prefix


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Give the data folder of a server that has run."""
    with RunningServer(workers=1, data=tmp_path / "alone") as server:
        server.post(SERVICES, headless("web"))
        server.post(SERVICES, service("db"))
        server.post(PODS, pod("web-1", "10.1.0.1", ready=True))
        refused = svcdns("migrate", "--to", "etcd://127.0.0.1:1", "--data", str(tmp_path / "alone"))
        assert refused.returncode == 1 and "in use" in refused.stderr, "it runs"
    return tmp_path / "alone"


def test_a_registry_moves_into_etcd_and_is_served_by_replicas(
    etcd: RunningEtcd, folder: Path, tmp_path: Path
) -> None:
    moved = svcdns("migrate", "--to", place(etcd, "/moved"), "--data", str(folder))
    assert moved.returncode == 0, moved.stderr
    config = f'[store]\netcd = ["{etcd.endpoints[0]}"]\netcd_prefix = "/moved/"\n'
    with RunningServer(workers=1, config=config) as a:
        assert a.answers(NAME) == ["10.1.0.1"]
        again = svcdns("migrate", "--to", place(etcd, "/moved"), "--data", str(folder))
        assert again.returncode == 1 and "replicas live" in again.stderr
    back = svcdns("migrate", "--to", str(tmp_path / "back"), "--from", place(etcd, "/moved"))
    assert back.returncode == 0, back.stderr
    with RunningServer(workers=1, data=tmp_path / "back") as server:
        assert server.answers(NAME) == ["10.1.0.1"]
        assert server.post(SERVICES, service("more")).status == 201
    again = svcdns("migrate", "--to", str(tmp_path / "back"), "--from", place(etcd, "/moved"))
    assert again.returncode == 1 and "already" in again.stderr


def test_a_backup_of_a_replica_becomes_the_registry_in_etcd_again(etcd: RunningEtcd, tmp_path: Path) -> None:
    store = f'[store]\netcd = ["{etcd.endpoints[0]}"]\netcd_prefix = "/lost/"\n'
    (tmp_path / "svcdns.toml").write_text(store)
    backup, config = str(tmp_path / "backup.mdb"), ("--config", str(tmp_path / "svcdns.toml"))
    with RunningServer(workers=1, config=store, data=tmp_path / "a") as a:
        a.post(SERVICES, headless("web"))
        a.post(PODS, pod("web-1", "10.1.0.1", ready=True))
        assert svcdns("backup", backup, "--data", str(tmp_path / "a")).returncode == 0
        wait_for(lambda: a.get("/svcdns/v1/replicas").json["replicas"], "the replica to be known")
        refused = svcdns("restore", backup, *config)
        assert refused.returncode == 1 and "replicas live" in refused.stderr
        a.delete(f"{PODS}/web-1?gracePeriodSeconds=0")
        uid = a.get(f"{SERVICES}/web").json["metadata"]["uid"]
    etcd.ctl("del", "--prefix", "/lost/")
    done = svcdns("restore", backup, *config)
    assert done.returncode == 0, done.stderr
    with RunningServer(workers=1, config=store, data=tmp_path / "a") as a:
        assert a.answers(NAME) == ["10.1.0.1"]
        assert a.get(f"{SERVICES}/web").json["metadata"]["uid"] == uid


@pytest.mark.parametrize(
    ("given", "named"),
    [
        (("--to", "etcd"), "--to etcd"),
        (("--to", "somewhere"), "--to somewhere"),
        (("--to", "etcd://no port"), "--to"),
        (("--to", "etcd://127.0.0.1:1", "--from", "etcd://127.0.0.1:2"), "--to"),
    ],
)
def test_what_is_no_move_is_refused_with_what_is_one(
    given: tuple[str, ...], named: str, tmp_path: Path
) -> None:
    refused = svcdns("migrate", *given, cwd=tmp_path)
    assert refused.returncode == 2 and named in refused.stderr and "allowed" in refused.stderr
    assert not list(tmp_path.iterdir())


def test_a_folder_without_a_registry_is_not_moved(etcd: RunningEtcd, tmp_path: Path) -> None:
    refused = svcdns("migrate", "--to", place(etcd), "--data", str(tmp_path / "none"))
    assert refused.returncode == 1 and "no registry" in refused.stderr
    refused = svcdns("migrate", "--to", str(tmp_path / "new"), "--from", place(etcd, "/nothing"))
    assert refused.returncode == 1 and "no registry" in refused.stderr
    away = svcdns("migrate", "--to", str(tmp_path / "new"), "--from", "etcd://127.0.0.1:1")
    assert away.returncode == 1 and "etcd" in away.stderr
    assert not (tmp_path / "new" / "data.mdb").exists()
