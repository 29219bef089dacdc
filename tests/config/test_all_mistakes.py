"""Every mistake of a configuration is named in one go, each on a line of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from toolbox.running_server import SOURCE
from toolbox.waiting import GUARD_SECONDS

from svcdns.config.load import examined, load
from svcdns.config.sections import ConfigError

TEN = """\
log = "loud"
clusterdomain = "x"
data = 3
[dns]
ttl = 99999
workers = "two"
listen = ["nowhere", "127.0.0.1"]
namespaces = ["a"]
namespace_labels = "b=c"
[ap]
x = 1
[api]
listen = "0.0.0.0:80"
tls_cert = "nothere.pem"
tls_key = "nothere.key"
tokens = "nothere/tokens"
[forward]
ca = "nothere/ca"
upstreams = ["192.0.2.1", "192.0.2.1"]
[[forward.zone]]
name = "corp.example"
[[forward.zone]]
nam = "x"
[services]
cluster_ip_ranges = ["10.96.0.0/12", "10.96.0.0/16"]
"""
IN_THE_FILE = (
    "1: log",
    "2: unknown key 'clusterdomain'",
    "3: data",
    "5: dns.ttl",
    "6: dns.workers",
    "7: dns.listen: 'nowhere'",
    "7: dns.listen: '127.0.0.1'",
    "9: dns.namespace_labels",
    "10: unknown section [ap]",
    "19: forward.upstreams",
    "20: forward.zone: zone 1",
    "22: forward.zone: zone 2",
    "25: services.cluster_ip_ranges",
)
IN_FILES = ("api.tls_cert", "api.tls_key", "api.tokens", "forward.ca")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    made = tmp_path / "svcdns.toml"
    made.write_text(TEN)
    return made


def test_all_that_is_wrong_in_the_file_is_named_in_its_order(file: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(file, {}, {})
    lines = [line.removeprefix(f"{file}:") for line in caught.value.lines]
    assert len(lines) == len(IN_THE_FILE)
    for line, expected in zip(lines, IN_THE_FILE, strict=True):
        assert line.startswith(expected)


def test_the_command_names_unreadable_files_too(file: Path) -> None:
    command = [sys.executable, "-m", "svcdns", "check", "--config", str(file)]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=GUARD_SECONDS,
        env={"PYTHONPATH": str(SOURCE)},
        cwd=file.parent,
    )
    assert done.returncode == 2 and "Traceback" not in done.stderr
    lines = done.stderr.splitlines()
    assert len(lines) == len(IN_THE_FILE) + len(IN_FILES)
    for option in IN_FILES:
        assert sum(line.startswith(f"svcdns: {option}: ") for line in lines) == 1, option


def test_variables_and_flags_are_named_beside_the_file(file: Path) -> None:
    file.write_text("[dns]\nttl = 99999\n")
    environ = {"SVCDNS_DNS_WORKERS": "two", "SVCDNS_DNS_SHORT_NAMES": "perhaps", "SVCDNS_LOG": "loud"}
    with pytest.raises(ConfigError) as caught:
        load(file, environ, {"log": "silent"})
    places = [line.split(": ")[0] for line in caught.value.lines]
    assert places[0] == f"{file}:2"
    assert sorted(places[1:]) == ["--log", "SVCDNS_DNS_SHORT_NAMES", "SVCDNS_DNS_WORKERS"]


@pytest.mark.parametrize(
    ("text", "option"),
    [
        ('[api]\nlisten = "0.0.0.0:80"\ninsecure = "yes"\n', "api.insecure"),
        ('[api]\ntls_cert = "a.pem"\ntls_key = 3\n', "api.tls_key"),
        ('[api]\ngrant = [{user = "a", role = "view"}]\ntokens = 3\n', "api.tokens"),
        ('[dns]\nnamespaces = 3\nnamespace_labels = "a=b"\n', "dns.namespaces"),
    ],
)
def test_what_only_follows_from_a_mistake_is_not_named(file: Path, text: str, option: str) -> None:
    file.write_text(text)
    [line] = examined(file, {}, {}).mistakes
    assert option in line
