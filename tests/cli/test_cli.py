"""The command line as a user meets it: exit codes, one line a mistake, no traceback."""

import json
import re
from pathlib import Path

import pytest
from toolbox.running_server import RunningServer, svcdns

from svcdns.cli.check import mistakes_in_files
from svcdns.config.load import load


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["serv"], "No such command 'serv'. Did you mean 'serve'? (see svcdns --help)"),
        (["serve", "--nope"], "No such option: --nope"),
        (["serve", "--config"], "Option '--config' requires an argument"),
        (["serve", "--config", "nosuch.toml"], "nosuch.toml: can't be read: no such file or directory"),
        (["serve", "--dns", "53"], "--dns: '53' lacks its address; allowed: ADDRESS:PORT"),
        (
            ["serve", "--api", "0.0.0.0:80"],
            "--api: api.listen: 0.0.0.0:80 can be reached from other machines",
        ),
        (["serve", "--workers", "many"], '--workers: "many" is no whole number'),
        (["serve", "--workers", "-1"], "--workers: -1 is out of range; allowed: 0..256"),
        (["serve", "--log", "loud"], "--log: 'loud' is not known; allowed: debug, info, warning, error"),
        (["serve", "--manifests", "nosuch"], "--manifests: manifests: there is no file or folder"),
        (["check", "--config", "nosuch.toml"], "nosuch.toml: can't be read"),
        (["check", "--output", "xml"], "--output: 'xml' is not known; allowed: text, json"),
        (["query"], "Missing argument 'NAME'"),
        (["query", "a..b"], "'a..b' is no domain name: a DNS label is empty; allowed: such as example.com"),
        (["query", "x" * 64], "is no domain name"),
        (["query", "x", "FOO"], "'FOO' is no record type; allowed: such as A, AAAA, SRV"),
        (["query", "x", "--server", "127.0.0.1:x"], "--server: port 'x' in '127.0.0.1:x' is none; allowed"),
        (["query", "x", "--server", "127.0.0.1:0"], "--server: 127.0.0.1:0 names no port; allowed: 1..65535"),
        (["query", "x", "--timeout", "-1"], "--timeout"),
    ],
)
def test_a_mistake_gives_one_line_and_code_2(tmp_path: Path, arguments: list[str], expected: str) -> None:
    ran = svcdns(*arguments, cwd=tmp_path)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr.startswith("svcdns: ")
    assert ran.stderr.count("\n") == 1
    assert expected in ran.stderr


def test_a_mistake_in_a_variable_gives_one_line_and_code_2() -> None:
    ran = svcdns("serve", SVCDNS_DNS_TTL="soon")
    assert (ran.returncode, ran.stderr) == (
        2,
        "svcdns: SVCDNS_DNS_TTL: 'soon' is no whole number; allowed: digits\n",
    )


def test_the_variable_for_the_file_is_heard(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text("\n[dns]\nttl = 'x'\n")
    ran = svcdns("check", SVCDNS_CONFIG=str(tmp_path / "c.toml"))
    assert ran.returncode == 2
    assert ran.stderr.startswith(f"svcdns: {tmp_path}/c.toml:3: dns.ttl: ")


def test_version() -> None:
    ran = svcdns("version")
    assert ran.returncode == 0
    assert re.fullmatch(r"svcdns \d+\.\d+\.\d+ \((compiled|python) path\)\n", ran.stdout)


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"]])
def test_help_shows_how_to_begin(arguments: list[str]) -> None:
    ran = svcdns(*arguments)
    assert ran.returncode == 0
    assert "svcdns add cache --port redis=6379" in ran.stdout
    assert "dig @127.0.0.1 -p 1053" in ran.stdout


@pytest.mark.parametrize(
    "command", ["serve", "check", "add", "why", "get", "query", "resolvconf", "cache flush"]
)
def test_each_command_has_an_example(command: str) -> None:
    ran = svcdns(*command.split(), "--help")
    assert ran.returncode == 0
    assert f"svcdns {command} " in ran.stdout.split("Example", 1)[1]


# check


def test_check_reads_the_zone_files(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text("")
    (tmp_path / "zones").mkdir()
    zone = tmp_path / "zones" / "example.org.zone"
    zone.write_text("$TTL 60\n@ SOA ns hostmaster 1 3600 600 86400 60\n@ NS ns\nns A 192.0.2.1\n")
    ran = svcdns("check", "--config", "c.toml", cwd=tmp_path)
    assert (ran.returncode, ran.stdout) == (0, "c.toml: no mistakes; 1 zone, 0 manifests\n")
    zone.write_text(zone.read_text() + "www A 192.0.2.256\n")
    ran = svcdns("check", "--config", "c.toml", cwd=tmp_path)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr.startswith(f"svcdns: {zone}:5: ")


MANIFESTS = Path(__file__).parents[1] / "manifests" / "corpus"


def test_check_lists_what_becomes_of_a_folder_of_manifests(tmp_path: Path) -> None:
    ran = svcdns("check", "--manifests", MANIFESTS, cwd=tmp_path)
    assert ran.returncode == 1
    assert ran.stderr == "svcdns: defaults: 9 mistakes, 17 left out; 0 zones, 15 manifests\n"
    lines = ran.stdout.splitlines()
    assert all(len(line) <= 80 or " " not in line.strip() for line in lines), "80 columns, but for paths"
    start = lines.index(f"{MANIFESTS}/compose-chat.yaml")
    assert lines[start + 1] == "  document 1, items[0]: Service chat in default: registered"
    assert lines[start + 2 : start + 5] == [
        "  document 1, items[1]: Deployment chat: left out: is not run here; register",
        "    each of its Pods with its address (status.podIP) and the labels",
        "    io.kompose.service=chat, by which Service chat selects it",
    ]
    assert lines[start + 5].startswith(
        "  document 1, items[2].spec.ports[0].port: Service chat-web: mistake: "
    )


def test_check_gives_programs_json(tmp_path: Path) -> None:
    ran = svcdns("check", "--manifests", MANIFESTS, "-o", "json", cwd=tmp_path)
    assert (ran.returncode, ran.stderr) == (1, "")
    found = json.loads(ran.stdout)
    assert (found["mistakes"], found["zones"]) == ([], 0)
    assert {
        "file": str(MANIFESTS / "kustomize-blog.yaml"),
        "document": 2,
        "field": "",
        "object": "Pod blog-db-0",
        "namespace": "blog",
        "outcome": "registered",
        "why": "",
        "remedy": "",
    } in found["manifests"]
    outcomes = [entry["outcome"] for entry in found["manifests"]]
    assert [outcomes.count(word) for word in ("registered", "mistake", "left out")] == [15, 9, 17]
    ran = svcdns("check", "--config", "nosuch.toml", "-o", "json", cwd=tmp_path)
    assert ran.returncode == 2
    assert json.loads(ran.stdout)["mistakes"][0].startswith("nosuch.toml: ")


def test_check_takes_what_is_left_out_for_no_mistake_unless_strict(tmp_path: Path) -> None:
    file = tmp_path / "m.yaml"
    file.write_text("{apiVersion: v1, kind: Secret, metadata: {name: s}}")
    ran = svcdns("check", "--manifests", file, cwd=tmp_path)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.endswith("\ndefaults: no mistakes; 0 zones, 0 manifests, 1 left out\n")
    for strict in (("--strict-manifests",), ()):
        environ = {} if strict else {"SVCDNS_STRICT_MANIFESTS": "true"}
        ran = svcdns("check", "--manifests", file, *strict, cwd=tmp_path, **environ)
        assert (ran.returncode, ran.stderr) == (1, "svcdns: defaults: 1 left out; 0 zones, 0 manifests\n")


def test_check_knows_the_namespaces_of_a_server_that_runs(server: RunningServer, tmp_path: Path) -> None:
    file = tmp_path / "m.yaml"
    file.write_text(
        "{apiVersion: v1, kind: Service, metadata: {name: a, namespace: made-by-api}, "
        "spec: {ports: [{port: 1}]}}"
    )
    arguments = ("check", "--manifests", file, "--data", server.data)
    assert svcdns(*arguments, cwd=tmp_path).returncode == 1
    server.post("/api/v1/namespaces", {"metadata": {"name": "made-by-api"}})
    assert svcdns(*arguments, cwd=tmp_path).returncode == 0


def test_manifests_keep_a_new_version_away_only_where_they_are_strict(tmp_path: Path) -> None:
    arguments = {"manifests": [str(MANIFESTS)], "data": str(tmp_path), "dns.zones": None}
    assert mistakes_in_files(load(None, {"SVCDNS_DNS_ZONES": str(tmp_path)}, arguments)) == []
    strict = load(None, {"SVCDNS_DNS_ZONES": str(tmp_path)}, {**arguments, "strict_manifests": True})
    assert len(mistakes_in_files(strict)) == 9 + 17


# query


def test_query_shows_an_answer(server: RunningServer) -> None:
    where = "{}:{}".format(*server.dns)
    ran = svcdns("query", "dns-version.cluster.local", "TXT", "--server", where)
    assert ran.returncode == 0
    assert ran.stderr == ""
    assert ran.stdout.startswith(";; NOERROR, flags qr aa rd, 1 answer, ")
    assert 'dns-version.cluster.local. 28800 IN TXT "1.1.0"' in ran.stdout


def test_query_finds_the_local_server_by_its_variable(server: RunningServer) -> None:
    where = f"0.0.0.0:{server.dns[1]}"
    ran = svcdns("query", "dns-version.cluster.local", "txt", SVCDNS_DNS_LISTEN=where)
    assert ran.returncode == 0


def test_query_without_an_answer_ends_with_code_1(server: RunningServer) -> None:
    where = "{}:{}".format(*server.dns)
    ran = svcdns("query", "nosuch.default.svc.cluster.local", "--server", where)
    assert ran.returncode == 1
    assert ";; NXDOMAIN" in ran.stdout
    assert ";; AUTHORITY SECTION:\ncluster.local. " in ran.stdout
    assert svcdns("query", "default.svc.cluster.local", "--server", where).returncode == 1  # NODATA


def test_query_of_an_address_asks_for_its_name(server: RunningServer) -> None:
    body = {"metadata": {"name": "named"}, "spec": {"ports": [{"port": 80}]}}
    address = server.post("/api/v1/namespaces/default/services", body).json["spec"]["clusterIP"]
    ran = svcdns("query", address, "--server", "{}:{}".format(*server.dns))
    assert ran.returncode == 0
    assert "IN PTR named.default.svc.cluster.local." in ran.stdout


def test_query_takes_tcp_for_what_udp_cuts(server: RunningServer) -> None:
    addresses = [{"ip": f"10.0.{n // 250}.{1 + n % 250}"} for n in range(200)]
    slices = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices"
    server.post(
        "/api/v1/namespaces/default/services",
        {"metadata": {"name": "many"}, "spec": {"clusterIP": "None", "ports": [{"port": 80}]}},
    )
    for part in range(2):
        body = {
            "metadata": {"name": f"many-{part}", "labels": {"kubernetes.io/service-name": "many"}},
            "addressType": "IPv4",
            "endpoints": [{"addresses": [one["ip"]]} for one in addresses[part::2]],
            "ports": [{"port": 80}],
        }
        assert server.post(slices, body).status == 201
    where = "{}:{}".format(*server.dns)
    ran = svcdns("query", "many.default.svc.cluster.local", "--server", where)
    assert ran.returncode == 0
    assert "200 answers" in ran.stdout
    assert "over TCP" in ran.stdout


def test_query_of_nobody_ends_with_code_1() -> None:
    ran = svcdns("query", "x", "--server", "127.0.0.1:1", "--timeout", "0.05")
    assert (ran.returncode, ran.stdout) == (1, "")
    assert ran.stderr == "svcdns: 127.0.0.1:1 did not answer within 0.05 s\n"
