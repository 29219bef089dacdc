"""What `svcdns check` and a start warn of in [forward] and [acl]: none of it keeps a server from starting."""

import subprocess
import sys
from pathlib import Path

import pytest
from toolbox.running_server import RunningServer

from svcdns.config import checks
from svcdns.config.load import load
from svcdns.server import preflight

WAITS = "; no name that is to be asked for there is answered until it lists a nameserver"
ZONE = "\n[[forward.zone]]\nname = 'corp.example'\nupstreams = [{}]\n"
FORWARD = "[forward]\nupstreams = ['192.0.2.1']\n"


def warnings(folder: Path, text: str, *, at_start: bool = False) -> list[str]:
    """Return what check says of a configuration, the folder's path as FOLDER; or what a start says."""
    file = folder / "svcdns.toml"
    file.write_text(text.replace("FOLDER", str(folder)))
    config = load(file, {}, {})
    assert not preflight.mistakes(config)
    lines = checks.warnings(config)
    if not at_start:
        lines += preflight.resolv_conf_warnings(config)
    return [line.replace(str(folder), "FOLDER") for line in lines]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "empty").touch()
    (tmp_path / "comments").write_text("# nothing\nsearch example\n")
    (tmp_path / "names").write_text("nameserver dns.example\n")
    (tmp_path / "itself").write_text("nameserver 127.0.0.1\n")
    (tmp_path / "both").write_text("nameserver 127.0.0.1\nnameserver 192.0.2.1\n")
    (tmp_path / "good").write_text("nameserver 192.0.2.1\n")
    return tmp_path


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("nosuch", "can't be read: no such file or directory" + WAITS),
        ("empty", "lists no nameserver" + WAITS),
        ("comments", "lists no nameserver" + WAITS),
        ("names", "lists no nameserver: 'dns.example' is no address that can be asked" + WAITS),
        (
            "itself",
            "lists no server but this one (127.0.0.1): questions would go round in a loop; "
            "list the real nameservers in [forward] upstreams" + WAITS,
        ),
        (
            "both",
            "127.0.0.1 is this server itself and left out: questions would go round in a loop; "
            "list the real nameservers in [forward] upstreams",
        ),
        ("good", ""),
    ],
)
def test_a_resolv_conf_that_gives_no_upstream(folder: Path, name: str, expected: str) -> None:
    text = f"[dns]\nlisten = ['127.0.0.1:53']\n[forward]\nupstreams = ['FOLDER/{name}']\n"
    said = f"forward.upstreams: FOLDER/{name}: {expected}"
    assert warnings(folder, text) == ([said] if expected else [])
    assert warnings(folder, text, at_start=True) == []  # the forwarder logs it


def test_a_folder_is_no_resolv_conf(folder: Path) -> None:
    text = "[forward]\nupstreams = ['FOLDER']\n"
    assert warnings(folder, text) == ["forward.upstreams: FOLDER: is no file but a folder" + WAITS]


@pytest.mark.parametrize("other", ["192.0.2.1", "FOLDER/good"])
def test_where_there_are_other_upstreams(folder: Path, other: str) -> None:
    text = f"[forward]\nupstreams = ['FOLDER/empty', '{other}']\n"
    said = "forward.upstreams: FOLDER/empty: lists no nameserver; the other upstreams are asked"
    assert warnings(folder, text) == [said]


def test_a_zone_of_its_own(folder: Path) -> None:
    text = FORWARD + ZONE.format("'FOLDER/empty'")
    assert warnings(folder, text) == [
        "forward.zone: zone 1: upstreams: FOLDER/empty: lists no nameserver" + WAITS
    ]
    assert warnings(folder, "[forward]\nupstreams = []\n") == []


def test_the_forwarder_logs_the_same(folder: Path) -> None:
    with RunningServer(workers=1, config=f"[forward]\nupstreams = ['{folder}/empty']\n") as server:
        assert f"{folder}/empty: lists no nameserver{WAITS}" in server.log()


def test_a_limit_for_one_client_that_is_none(folder: Path) -> None:
    (said,) = warnings(folder, FORWARD + "outstanding = 999\n")
    assert said.startswith(
        "forward.outstanding_per_client: 1000 is more than outstanding, 999: one client can"
    )
    assert warnings(folder, FORWARD + "outstanding = 1000\n") == []
    assert warnings(folder, "[forward]\nupstreams = []\noutstanding = 1\n") == []


LISTEN = "[dns]\nlisten = [{}]\n[acl]\nforward = [{}]\n" + FORWARD
REFUSED = (
    "acl.forward: programs of this machine that ask at {0} for names that are not ours are refused; "
    'add "{0}" to forward in [acl]'
)


@pytest.mark.parametrize(
    ("listen", "forward", "refused"),
    [
        ("'192.0.2.2:53'", "'loopback', 'private'", ["192.0.2.2"]),
        ("'192.0.2.2:53', '192.0.2.2:54', '[2001:db8::2]:53'", "'loopback'", ["192.0.2.2", "2001:db8::2"]),
        ("'[fe80::1%eth0]:53'", "'loopback'", ["fe80::1"]),
        ("'[::ffff:192.0.2.2]:53'", "'loopback'", ["192.0.2.2"]),
        ("'192.0.2.2:53'", "'loopback', '10.0.0.0/8', '!192.0.0.0/8'", ["192.0.2.2"]),
        ("'192.0.2.2:53'", "'loopback', '!192.0.2.2'", []),  # as somebody wants it
        ("'192.0.2.2:53'", "'loopback', '192.0.2.2'", []),
        ("'10.1.2.3:53', '127.0.0.1:53', '[::1]:53', '[fe80::1%eth0]:53'", "'loopback', 'private'", []),
        ("'0.0.0.0:53', '[::]:53'", "'loopback'", []),
    ],
)
def test_this_machine_is_refused_at_its_own_address(
    folder: Path, listen: str, forward: str, refused: list[str]
) -> None:
    told = warnings(folder, LISTEN.format(listen, forward), at_start=True)
    expected = [REFUSED.format(address) for address in refused]
    assert [line for line in told if "open resolver" not in line] == expected


def test_what_is_proposed_is_what_helps(folder: Path) -> None:
    for address in ("192.0.2.2", "2001:db8::2", "fe80::1"):
        place = f"'[{address}]:53'" if ":" in address else f"'{address}:53'"
        text = LISTEN.format(place, f"'loopback', '{address}'")
        assert not [line for line in warnings(folder, text) if "of this machine" in line]


def test_check_says_it_and_finds_no_mistake(folder: Path) -> None:
    (folder / "c.toml").write_text("[forward]\nupstreams = ['/nonexistent']\noutstanding = 1\n")
    ran = subprocess.run(
        [sys.executable, "-m", "svcdns", "check", "--config", "c.toml"],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=folder,
    )
    assert ran.returncode == 0
    first, second = ran.stderr.splitlines()
    assert first.startswith("svcdns: forward.outstanding_per_client: 1000 is more than outstanding, 1: ")
    assert second.startswith(
        "svcdns: forward.upstreams: /nonexistent: can't be read: no such file or directory; "
    )
    assert ran.stdout.startswith("c.toml: no mistakes")


def test_reading_a_resolv_conf_takes_the_standard_library_only() -> None:
    code = (
        "import sys, svcdns.forward.system_nameservers;"
        "print([m for m in ('dns', 'dnslib', 'httpcore', 'lmdb', 'asyncio') if m in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


def test_what_a_start_looks_at_for_mistakes_is_in_no_memory_of_the_supervisor(tmp_path: Path) -> None:
    """Its children are forks: each would know the key of the API."""
    cert, key, config = tmp_path / "cert", tmp_path / "key", tmp_path / "svcdns.toml"
    cert.write_text("-----BEGIN CERTIFICATE-----\n")
    key.write_text("-----BEGIN PRIVATE KEY-----\nof-nobody-else\n")
    config.write_text(f"[api]\ntls_cert = '{cert}'\ntls_key = '{key}'\naudit_log = '/nosuch/\xe9'\n")
    code = (
        "import sys; from pathlib import Path; from svcdns.config.load import load; "
        "from svcdns.server.preflight import mistakes, mistakes_found_apart; "
        f"config = load(Path({str(config)!r}), {{}}, {{}}); found = mistakes_found_apart(config); "
        "assert 'svcdns.server.tls' not in sys.modules; "
        "assert found == mistakes(config) and len(found) == 2, found; "
        "assert 'svcdns.server.tls' in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert not done.stderr
