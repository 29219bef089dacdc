"""Who may write into the folder of what was changed can't have root write anything else by cleaning up."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from proxy.machine import machine
from toolbox.hosts import Host

from svcdns.proxy.changes_made import ChangesMade
from svcdns.proxy.cleanup import cleanup


@pytest.fixture
def host(may_change_rules: None) -> Iterator[Host]:
    with machine() as made:
        yield made


def planted(folder: Path, *changed: tuple[str, str, str]) -> Path:
    """The file as a proxy leaves it, with other contents."""
    ChangesMade(folder).note("hairpin", "1 lo", "off")
    (file,) = folder.iterdir()
    said = json.loads(file.read_bytes())
    file.write_text(json.dumps({**said, "changed": changed}))
    return file


@pytest.mark.parametrize("climb", ["", "../../", "net/ipv4/neigh/../../../../", "net/ipv6/conf/../../../../"])
def test_a_file_that_is_no_setting_of_ours_stays_as_it_is(host: Host, tmp_path: Path, climb: str) -> None:
    precious = tmp_path / "precious"
    precious.write_text("root")
    name = f"{climb}{precious if not climb else str(precious)[1:]}"
    with host.entered():
        Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
        planted(
            tmp_path / "data",
            ("switch", f"{name}=root", "mine"),
            ("switch", f"{name}=root", "0"),
            ("sysctl", "net/ipv4/ip_forward", f"0 {name}"),
            ("sysctl", name, "mine"),
        )
        cleanup([tmp_path / "data"])
        assert Path("/proc/sys/net/ipv4/ip_forward").read_text() == "0\n"
    assert precious.read_text() == "root"


@pytest.mark.parametrize(
    "name", ["net/ipv4/neigh/lo/gc_stale_time", "net/ipv4/conf/lo/rp_filter", "kernel/x"]
)
def test_no_other_setting_is_set_back(host: Host, tmp_path: Path, name: str) -> None:
    with host.entered():
        path = Path("/proc/sys", name)
        before = path.read_text() if path.exists() else ""
        planted(tmp_path, ("switch", f"{name}={before.strip()}", "1"))
        cleanup([tmp_path])
        assert (path.read_text() if path.exists() else "") == before


def test_links_and_pipes_are_not_read(host: Host, tmp_path: Path) -> None:
    with host.entered():
        Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
        file = planted(tmp_path / "data", ("sysctl", "net/ipv4/ip_forward", "0"))
        file.rename(tmp_path / "elsewhere")
        file.symlink_to(tmp_path / "elsewhere")
        assert ChangesMade(tmp_path / "data").all() == []
        file.unlink()
        os.mkfifo(file)
        assert ChangesMade(tmp_path / "data").all() == []
        assert cleanup([tmp_path / "data"]) == []
        assert Path("/proc/sys/net/ipv4/ip_forward").read_text() == "1\n"
