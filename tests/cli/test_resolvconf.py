"""The resolv.conf for containers: its text, whose addresses stand in it, and `svcdns resolvconf`."""

import json
from pathlib import Path

import pytest
from toolbox.running_server import RunningServer, svcdns

from svcdns.api.client_resolv_conf import addresses_for, listens_on_all, text
from svcdns.config.sections import Endpoint

V4, V6 = Endpoint("192.0.2.53", 53), Endpoint("2001:db8::53", 53)
ANY4, ANY6 = Endpoint("0.0.0.0", 53), Endpoint("::", 53)
FIVE = [Endpoint(f"192.0.2.{n}", 53) for n in range(1, 6)]
LOOP4, LOOP6 = Endpoint("127.0.0.1", 53), Endpoint("::1", 53)


def test_the_text() -> None:
    assert text([V4, V6], "shop", "cluster.local") == (
        "# Made by svcdns: resolves names as a Pod of namespace shop does.\n"
        "nameserver 192.0.2.53\n"
        "nameserver 2001:db8::53\n"
        "search shop.svc.cluster.local svc.cluster.local cluster.local\n"
        "options ndots:5\n"
    )
    assert text([V4], "shop", "corp.example", 0).endswith("corp.example\noptions ndots:0\n")


def test_what_keeps_it_from_working_is_said_in_a_comment() -> None:
    lines = text([Endpoint("127.0.0.1", 1053)], "shop", "cluster.local").splitlines()
    assert lines[1].startswith(
        "# svcdns answers on port 1053, and resolv.conf can't name a port: have it listen"
    )
    assert lines[2].startswith("# Loopback is reached only within one network namespace, ")
    assert lines[3] == "# For these, have svcdns listen on another address (listen in [dns], or --dns)."
    assert lines[4] == "nameserver 127.0.0.1"


def test_of_a_server_on_all_addresses_one_has_to_be_named() -> None:
    lines = text([LOOP4], "shop", "cluster.local", say_which="advertise_addresses in [dns]").splitlines()
    assert lines[1].startswith("# Loopback is reached only within one network namespace, ")
    assert lines[2] == (
        "# svcdns listens on all addresses: say which one containers reach, by advertise_addresses in [dns]."
    )
    assert lines[3] == "nameserver 127.0.0.1"
    assert text([V4], "shop", "cluster.local", say_which="x") == text([V4], "shop", "cluster.local")


@pytest.mark.parametrize(
    ("listening", "expected"),
    [([ANY4], True), ([ANY6, LOOP4], True), ([LOOP4], False), ([LOOP4, Endpoint("0.0.0.0", 1053)], False)],
)
def test_whether_it_listens_on_all(listening: list[Endpoint], expected: bool) -> None:
    assert listens_on_all(listening) is expected


@pytest.mark.parametrize(
    ("listening", "advertised", "local", "expected"),
    [
        ([V4, V6], (), None, [V4, V6]),
        ([LOOP4, V4, LOOP6], (), None, [V4]),
        ([LOOP4], (), None, [LOOP4]),
        ([LOOP4, LOOP6], (), "192.0.2.9", [LOOP4, LOOP6]),  # it does not answer there
        ([LOOP4], ("192.0.2.7",), None, [Endpoint("192.0.2.7", 53)]),
        ([V4], ("192.0.2.7",), "192.0.2.9", [V4]),
        # a wildcard
        ([ANY4], (), "192.0.2.9", [Endpoint("192.0.2.9", 53)]),
        ([ANY4], ("192.0.2.7",), "192.0.2.9", [Endpoint("192.0.2.9", 53)]),
        ([ANY4], ("192.0.2.7",), "127.0.0.1", [Endpoint("192.0.2.7", 53)]),
        ([ANY4], ("192.0.2.7", "2001:db8::7"), None, [Endpoint("192.0.2.7", 53)]),
        ([ANY4], (), "127.0.0.1", [LOOP4]),
        ([ANY4], (), None, [LOOP4]),
        ([ANY4], (), "2001:db8::9", [LOOP4]),
        ([ANY4], (), "::ffff:192.0.2.9", [Endpoint("192.0.2.9", 53)]),
        ([ANY6], (), "fe80::1%eth0", [Endpoint("fe80::1%eth0", 53)]),
        ([ANY4, ANY6], (), "192.0.2.9", [Endpoint("192.0.2.9", 53)]),
        ([ANY4, ANY6], (), None, [LOOP4, LOOP6]),
        ([ANY6, V4], (), "192.0.2.9", [V4]),
        # ports
        ([Endpoint("192.0.2.1", 1053), V4], (), None, [V4]),
        ([Endpoint("192.0.2.1", 1053)], (), None, [Endpoint("192.0.2.1", 1053)]),
        # no more than a resolver asks, none twice
        (FIVE, (), None, FIVE[:3]),
        ([ANY4, Endpoint("0.0.0.0", 53)], (), "192.0.2.9", [Endpoint("192.0.2.9", 53)]),
    ],
)  # fmt: skip
def test_whose_addresses(
    listening: list[Endpoint], advertised: tuple[str, ...], local: str | None, expected: list[Endpoint]
) -> None:
    assert addresses_for(listening, advertised, local) == expected


# The command


def nobody(folder: Path) -> str:
    return f"svcdns: no server runs on {folder}; these are the addresses of the configuration\n"


def test_the_command_reads_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text(
        "cluster_domain = 'corp.example'\n[dns]\nlisten = ['192.0.2.53:53', '[::1]:53']\n"
    )
    ran = svcdns("resolvconf", "--config", "c.toml", "--namespace", "shop", "--ndots", "2", cwd=tmp_path)
    assert (ran.returncode, ran.stderr) == (0, nobody(tmp_path / "svcdns-data"))
    assert ran.stdout == text([V4], "shop", "corp.example", 2)


@pytest.mark.parametrize("listen", ["0.0.0.0:53", "[::]:53"])
def test_of_a_wildcard_the_command_says_by_what_an_address_is_named(tmp_path: Path, listen: str) -> None:
    (tmp_path / "c.toml").write_text(f"[dns]\nlisten = ['{listen}']\n")
    said = svcdns("resolvconf", "--config", "c.toml", cwd=tmp_path).stdout
    remedy = "say which one containers reach, by --nameserver ADDRESS or advertise_addresses in [dns]."
    assert f"# svcdns listens on all addresses: {remedy}\n" in said
    (tmp_path / "c.toml").write_text(f"[dns]\nlisten = ['{listen}']\nadvertise_addresses = ['192.0.2.53']\n")
    assert svcdns("resolvconf", "--config", "c.toml", cwd=tmp_path).stdout == text(
        [V4], "default", "cluster.local"
    )
    ran = svcdns("resolvconf", "--config", "c.toml", "--nameserver", "192.0.2.53", cwd=tmp_path)
    assert (ran.stderr, ran.stdout) == ("", text([V4], "default", "cluster.local"))


def test_a_folder_on_which_no_server_runs(tmp_path: Path) -> None:
    for arguments, folder in (([], "svcdns-data"), (["--data", "other"], "other")):
        assert svcdns("resolvconf", *arguments, cwd=tmp_path).stderr == nobody(tmp_path / folder)


def test_the_command_takes_other_nameservers(tmp_path: Path) -> None:
    ran = svcdns(
        "resolvconf", "-n", "shop", "--nameserver", "192.0.2.53", "--nameserver", "2001:DB8::53", cwd=tmp_path
    )
    assert (ran.returncode, ran.stdout) == (0, text([V4, V6], "shop", "cluster.local"))


def test_the_command_knows_where_a_running_server_answers(tmp_path: Path) -> None:
    with RunningServer(workers=1) as server:
        (tmp_path / "c.toml").write_text(f"data = '{server.data}'\n")
        port = server.dns[1]
        ran = svcdns("resolvconf", "--config", "c.toml", cwd=tmp_path)
        assert f"svcdns answers on port {port}," in ran.stdout
        assert ran.stderr == ""
        assert server.get("/resolv.conf").text == ran.stdout
        assert svcdns("resolvconf", "--data", str(server.data), cwd=tmp_path).stdout == ran.stdout
        assert "search default.svc.cluster.local svc.cluster.local cluster.local\n" in ran.stdout
        server.stop()
        assert (
            "svcdns answers on port 1053," in svcdns("resolvconf", "--config", "c.toml", cwd=tmp_path).stdout
        )


@pytest.mark.parametrize(
    "told",
    [
        "",
        "[]",
        "{",
        '{"dns": 5, "pid": 1}',
        '{"dns": ["x"], "pid": 1}',
        '{"dns": ["192.0.2.1:5"]}',
        '{"dns": ["192.0.2.1:5"], "pid": -1}',
        json.dumps({"dns": ["192.0.2.1:5"], "pid": 1 << 80}),
    ],
)
def test_a_file_of_addresses_that_is_none_is_not_believed(tmp_path: Path, told: str) -> None:
    (tmp_path / "svcdns-data").mkdir()
    (tmp_path / "svcdns-data" / "addresses.json").write_text(told)
    (tmp_path / "c.toml").write_text("[dns]\nlisten = ['192.0.2.53:53']\n")
    ran = svcdns("resolvconf", "--config", "c.toml", "-n", "shop", cwd=tmp_path)
    assert (ran.returncode, ran.stdout) == (0, text([V4], "shop", "cluster.local"))


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["-n", "Shop"], "--namespace: 'Shop' is no namespace; allowed: 1 to 63 lower-case letters"),
        (["-n", ""], "--namespace: '' is no namespace; allowed: "),
        (["-n", "a.b"], "--namespace: 'a.b' is no namespace; allowed: "),
        (["--ndots", "16"], "--ndots: 16 is out of range; allowed: 0..15"),
        (["--ndots", "-1"], "--ndots: -1 is out of range; allowed: 0..15"),
        (["--ndots", "many"], "--ndots"),
        (["--nameserver", "dns.example"], "--nameserver: 'dns.example' is no IP address; allowed: such as"),
        (
            ["--nameserver", "0.0.0.0"],
            "--nameserver: '0.0.0.0' can't be reached as a server; allowed: unicast",
        ),
        (["--nameserver", "::1", "--nameserver", "0::1"], "--nameserver: '::1' stands in the list twice"),
        ([f"--nameserver=192.0.2.{n}" for n in range(4)], "--nameserver: 4 are too many; allowed: up to 3"),
        (["--config", "nosuch"], "nosuch: can't be read"),
    ],
)
def test_a_mistake_gives_one_line_and_code_2(tmp_path: Path, arguments: list[str], expected: str) -> None:
    ran = svcdns("resolvconf", *arguments, cwd=tmp_path)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr.startswith("svcdns: ")
    assert ran.stderr.count("\n") == 1
    assert expected in ran.stderr


def test_help_shows_how_to_use_it(tmp_path: Path) -> None:
    ran = svcdns("resolvconf", "--help", cwd=tmp_path)
    assert ran.returncode == 0
    for words in ("svcdns resolvconf --namespace shop", "docker run", "podman run"):
        assert words in ran.stdout
