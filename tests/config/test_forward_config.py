"""[forward], [cache] and [acl] as a user meets them: what each takes, and the line each mistake gives."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from toolbox.running_server import SOURCE, svcdns

from svcdns.cli import certificates
from svcdns.config.load import load, of_spelt, spelt_options
from svcdns.config.sections import AclConfig, CacheConfig, Config, ConfigError, ForwardConfig, ForwardZone

ALL = """\
[forward]
upstreams = ["9.9.9.9", "tls://1.1.1.1", "https://dns.example/dns-query"]
policy = "round_robin"
ca = "ca.crt"
outstanding = 5
outstanding_per_client = 2

[[forward.zone]]
name = "Corp.Example."
upstreams = ["192.0.2.53", "192.0.2.54:5353"]
policy = "random"

[[forward.zone]]
name = "10.in-addr.arpa"
upstreams = ["192.0.2.53"]

[cache]
octets = 1048576
max_ttl = 600
max_negative_ttl = 60
stale = 0

[acl]
names = ["loopback", "Private", "2001:DB8::/32", "!10.66.0.0/16"]
forward = ["any", "!192.0.2.7"]
transfer = ["192.0.2.1"]
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "svcdns.toml"


def of_text(file: Path, text: str) -> Config:
    file.write_text(text)
    return load(file, {}, {})


def mistake(file: Path, text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        of_text(file, text)
    line = str(caught.value)
    assert "\n" not in line
    return line.removeprefix(f"{file.parent}/")


def test_everything_that_there_is(file: Path) -> None:
    config = of_text(file, ALL)
    assert config.forward == ForwardConfig(
        upstreams=("9.9.9.9", "tls://1.1.1.1", "https://dns.example/dns-query"),
        policy="round_robin",
        ca=file.parent / "ca.crt",
        outstanding=5,
        outstanding_per_client=2,
        zone=(
            ForwardZone("corp.example", ("192.0.2.53", "192.0.2.54:5353"), "random"),
            ForwardZone("10.in-addr.arpa", ("192.0.2.53",), "sequential"),
        ),
    )
    assert config.cache == CacheConfig(1 << 20, 600, 60, 0)
    assert config.acl == AclConfig(
        names=("loopback", "private", "2001:db8::/32", "!10.66.0.0/16"),
        forward=("any", "!192.0.2.7/32"),
        transfer=("192.0.2.1/32",),
    )
    assert of_spelt(spelt_options(config)) == config


def test_variables_spell_all_of_it(file: Path) -> None:
    environ = {
        "SVCDNS_FORWARD_ZONE": '[{"name": "corp.example", "upstreams": ["192.0.2.53"]}]',
        "SVCDNS_CACHE_OCTETS": "17179869184",
        "SVCDNS_ACL_FORWARD": "loopback, 10.0.0.0/8,!10.1.0.0/16",
    }
    config = load(None, environ, {})
    assert config.forward.zone == (ForwardZone("corp.example", ("192.0.2.53",)),)
    assert config.cache.octets == 16 << 30
    assert config.acl.forward == ("loopback", "10.0.0.0/8", "!10.1.0.0/16")


def test_no_upstreams_switch_forwarding_off(file: Path) -> None:
    config = of_text(file, "[forward]\nupstreams = []\n[acl]\nforward = []\n")
    assert not config.forward.forwards


ZONE = '[[forward.zone]]\nname = "a.example"\nupstreams = ["192.0.2.1"]\n'
OWN = """\
[services]
cluster_ip_ranges = ["10.96.0.0/16", "10.0.0.0/14", "10.4.0.0/14", "fd00:1::/32"]
load_balancer_ranges = ["192.0.2.0/25", "192.0.2.128/25"]
"""
LISTEN = "[dns]\nlisten = ['{}']\n[forward]\nupstreams = ['{}']"

MISTAKES = [
    # upstreams and their options
    ("[forward]\nupstreams = ['300.1.1.1']", "2: forward.upstreams: '300.1.1.1'"),
    ("[forward]\nupstreams = ['ftp://x']", "2: forward.upstreams: 'ftp://x'"),
    ("[forward]\nupstreams = ['9.9.9.9:0']", "2: forward.upstreams: port '0' in '9.9.9.9:0'"),
    ("[forward]\nupstreams = ['9.9.9.9', '9.9.9.9:53']", "2: forward.upstreams: '9.9.9.9'"),
    ("[forward]\npolicy = 'fastest'", "2: forward.policy: 'fastest'"),
    ("[forward]\noutstanding = 0", "2: forward.outstanding: 0"),
    ("[forward]\npolcy = 'random'", "2: unknown key 'polcy' in [forward]; did you mean policy?"),
    ("[forwards]\npolicy = 'random'", "1: unknown section [forwards]; did you mean [forward]?"),
    # loops
    (LISTEN.format("127.0.0.1:53", "127.0.0.1"), "4: forward.upstreams: '127.0.0.1' is this server itself"),
    (LISTEN.format("[::1]:1053", "[::1]:1053"), "4: forward.upstreams: '[::1]:1053' is this server itself"),
    (
        LISTEN.format("192.0.2.1:53", "tcp://192.0.2.1"),
        "4: forward.upstreams: 'tcp://192.0.2.1' is this server itself",
    ),
    (LISTEN.format("0.0.0.0:53", "127.0.0.53"), "4: forward.upstreams: '127.0.0.53' is this server itself"),
    (LISTEN.format("[::]:5353", "[::1]:5353"), "4: forward.upstreams: '[::1]:5353' is this server itself"),
    (
        "[forward]\nupstreams = ['127.0.0.1:1053']",
        "2: forward.upstreams: '127.0.0.1:1053' is this server itself",
    ),
    (
        ZONE + "[[forward.zone]]\nname = 'b.example'\nupstreams = ['127.0.0.1:1053']",
        "4: forward.zone: zone 2: upstreams: '127.0.0.1:1053' is this server itself",
    ),
    # zones
    ("[[forward.zone]]\nname = 'a'", "1: forward.zone: zone 1: has no upstreams"),
    ("[[forward.zone]]\nname = 'a'\nupstreams = []", "1: forward.zone: zone 1: upstreams: the list is empty"),
    ("[[forward.zone]]\nname = 'a'\nupstreams = '::1'", '1: forward.zone: zone 1: upstreams: "::1"'),
    ("[[forward.zone]]\nname = 'a'\nupstreams = ['x']", "1: forward.zone: zone 1: upstreams: 'x'"),
    ("[[forward.zone]]\nupstreams = ['9.9.9.9']", "1: forward.zone: zone 1: has no name"),
    ("[[forward.zone]]\nname = 7", "1: forward.zone: zone 1: name: 7"),
    ("[[forward.zone]]\nname = 'a b'", "1: forward.zone: zone 1: name: 'a b'"),
    ("[[forward.zone]]\nname = ''", "1: forward.zone: zone 1: name: ''"),
    ("[[forward.zone]]\nname = '.'", '1: forward.zone: zone 1: name: "."'),
    (ZONE + "policy = 'best'", '1: forward.zone: zone 1: policy: "best"'),
    (ZONE + "policy = ['random']", '1: forward.zone: zone 1: policy: ["random"]'),
    (
        ZONE + "upstream = ['9.9.9.9']",
        "1: forward.zone: zone 1: unknown key 'upstream'; did you mean upstreams?",
    ),
    (ZONE + "x = 1", "1: forward.zone: zone 1: unknown key 'x'"),
    (ZONE + "\n" + ZONE, "5: forward.zone: zone 2: a.example is listed before"),
    (ZONE + ZONE.replace("a.example", "A.EXAMPLE."), "4: forward.zone: zone 2: a.example is listed before"),
    (ZONE.replace("a.example", "cluster.local"), "1: forward.zone: zone 1: cluster.local"),
    (ZONE.replace("a.example", "X.Cluster.Local."), "1: forward.zone: zone 1: x.cluster.local"),
    ("[forward.zone]\nname = 'a'", '1: forward.zone: {"name": "a"}'),
    ("[forward]\nzone = ['a']", '2: forward.zone: ["a"]'),
    (
        ZONE + ZONE.replace("a.example", "96.10.in-addr.arpa"),
        "4: forward.zone: zone 2: 96.10.in-addr.arpa lies within 10.96.0.0/12",
    ),
    (
        OWN + ZONE.replace("a.example", "9.96.10.in-addr.arpa"),
        "4: forward.zone: zone 1: 9.96.10.in-addr.arpa lies within 10.96.0.0/16",
    ),
    (
        OWN + ZONE.replace("a.example", "x.1.2.96.10.in-addr.arpa"),
        "4: forward.zone: zone 1: x.1.2.96.10.in-addr.arpa lies within 10.96.0.0/16",
    ),
    (
        OWN + ZONE.replace("a.example", "7.7.0.10.in-addr.arpa"),
        "4: forward.zone: zone 1: 7.7.0.10.in-addr.arpa lies within 10.0.0.0/14",
    ),
    (
        OWN + ZONE.replace("a.example", "2.0.192.in-addr.arpa"),
        "4: forward.zone: zone 1: 2.0.192.in-addr.arpa lies within 192.0.2.0/24",
    ),
    (
        OWN + ZONE.replace("a.example", "1.0.0.0.1.0.0.0.0.0.D.F.ip6.arpa"),
        "4: forward.zone: zone 1: 1.0.0.0.1.0.0.0.0.0.d.f.ip6.arpa lies within fd00:1::/32",
    ),
    # cache
    ("[cache]\noctets = 1", "2: cache.octets: 1"),
    ("[cache]\noctets = -1", "2: cache.octets: -1"),
    ("[cache]\nmax_ttl = 0", "2: cache.max_ttl: 0"),
    ("[cache]\nmax_negative_ttl = 86401", "2: cache.max_negative_ttl: 86401"),
    ("[cache]\nstale = -1", "2: cache.stale: -1"),
    ("[cache]\nsize = 5", "2: unknown key 'size' in [cache]"),
    ("[cache]\nttl = 5", "2: unknown key 'ttl' in [cache]; did you mean max_ttl?"),
    ("[cache]\nWorkers = 5", "2: unknown key 'Workers' in [cache]; did you mean workers in [dns]?"),
    # who may ask
    ("[acl]\nnames = ['lan']", "2: acl.names: 'lan'"),
    ("[acl]\nnames = ['']", "2: acl.names: ''"),
    ("[acl]\nnames = ['!']", "2: acl.names: '!'"),
    ("[acl]\nnames = ['!!any']", "2: acl.names: '!!any'"),
    (
        "[acl]\nnames = ['10.0.0.1/8']",
        "2: acl.names: '10.0.0.1/8' has bits set behind its prefix; meant: 10.0.0.0/8",
    ),
    ("[acl]\nnames = ['10.0.0.0/33']", "2: acl.names: '10.0.0.0/33'"),
    ("[acl]\nnames = ['fe80::1%eth0']", "2: acl.names: 'fe80::1%eth0'"),
    (
        "[acl]\nnames = ['::ffff:10.0.0.0/104']",
        "2: acl.names: '::ffff:10.0.0.0/104' is an IPv4 network in IPv6; meant: 10.0.0.0/8",
    ),
    ("[acl]\nnames = ['any', 'ANY']", "2: acl.names: 'any'"),
    ("[acl]\nnames = ['any', '::1', '::1/128']", "2: acl.names: '::1/128'"),
    (
        "[acl]\nforward = ['loopback', '10.0.0.0/8', '!10.0.0.0/8']",
        "2: acl.forward: 10.0.0.0/8 is allowed by 10.0.0.0/8 and refused by !10.0.0.0/8",
    ),
    (
        "[acl]\nforward = ['!10.0.0.0/8', 'loopback', 'private']",
        "2: acl.forward: 10.0.0.0/8 is allowed by private and refused by !10.0.0.0/8",
    ),
    (
        "[dns]\ntransfer_to = ['192.0.2.1']\n[acl]\ntransfer = ['!192.0.2.1']",
        "4: acl.transfer: 192.0.2.1/32 is allowed by transfer_to of [dns] and refused by !192.0.2.1/32",
    ),
    ("[acl]\nnames = ['10.0.0.0/8']", "2: acl.names: refuses 127.0.0.1 and ::1"),
    ("[acl]\nnames = ['any', '!loopback']", "2: acl.names: refuses 127.0.0.1 and ::1"),
    ("[acl]\nnames = ['any', '!::1']", "2: acl.names: refuses ::1"),
    ("[acl]\nnames = []", "2: acl.names: refuses 127.0.0.1 and ::1"),
    ("[acl]\nforward = ['private']", "2: acl.forward: refuses 127.0.0.1 and ::1"),
    ("[acl]\nforward = []", "2: acl.forward: refuses 127.0.0.1 and ::1"),
]


@pytest.mark.parametrize(("text", "expected"), MISTAKES)
def test_a_mistake_names_its_line_and_what_is_allowed(file: Path, text: str, expected: str) -> None:
    line = mistake(file, text)
    assert line.startswith(f"svcdns.toml:{expected}")
    assert re.search(r"; (allowed|write|meant|did you mean|add)\b", line), "what helps"


FINE = [
    LISTEN.format("127.0.0.1:1053", "127.0.0.1"),  # another port
    LISTEN.format("127.0.0.1:53", "127.0.0.2"),
    LISTEN.format("0.0.0.0:53", "198.51.100.1"),
    LISTEN.format("0.0.0.0:53", "::1"),  # an IPv4 wildcard takes no IPv6
    LISTEN.format("127.0.0.1:0", "127.0.0.1"),  # no port that is known
    LISTEN.format("127.0.0.1:853", "tls://127.0.0.1"),  # we speak no TLS there
    ZONE.replace("a.example", "local"),
    ZONE.replace("a.example", "10.in-addr.arpa"),  # more than our ranges
    ZONE.replace("a.example", "in-addr.arpa"),
    ZONE.replace("a.example", "x.in-addr.arpa"),
    ZONE.replace("a.example", "95.10.in-addr.arpa"),
    ZONE.replace("a.example", "096.10.in-addr.arpa"),  # no address has such a name
    ZONE.replace("a.example", "96.10.in-addr.arpa.example"),
    OWN + ZONE.replace("a.example", "0.0.0.1.0.0.d.f.ip6.arpa"),
    OWN + ZONE.replace("a.example", "b.ip6.arpa"),
    "[dns]\nreverse_zones = ['ip6.arpa']\n" + ZONE.replace("a.example", "96.10.in-addr.arpa"),
    ZONE.replace("a.example", "mycluster.local"),
    "[cache]\noctets = 0",
    "[acl]\nnames = ['loopback', '127.0.0.0/8']",  # the same, said twice
    "[acl]\nnames = ['any', '!10.0.0.0/8', '10.1.0.0/16', '!10.1.1.1']",
    "[acl]\nnames = ['127.0.0.1', '::1']",
]


@pytest.mark.parametrize("text", FINE)
def test_what_is_no_mistake(file: Path, text: str) -> None:
    config = of_text(file, text)
    assert of_spelt(spelt_options(config)) == config


def test_ten_thousand_networks_and_zones_are_taken(file: Path) -> None:
    networks = [f"10.{n >> 8}.{n & 255}.0/24" for n in range(10_000)]
    zones = "".join(ZONE.replace("a.ex", f"a{n}.ex") for n in range(2_000))
    config = of_text(file, zones + f"[acl]\nnames = {['loopback', *networks]}\n")
    assert len(config.acl.names) == 10_001
    assert len(config.forward.zone) == 2_000
    assert of_spelt(spelt_options(config)) == config


Junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=8,
)
Tables = st.lists(
    st.fixed_dictionaries({}, optional={"name": Junk, "upstreams": Junk, "policy": Junk, "x": Junk}),
    max_size=3,
)


@given(Tables | Junk, st.lists(st.text(max_size=20), max_size=3))
def test_no_zone_and_no_acl_does_more_than_be_refused(zones: object, names: list[str]) -> None:
    import json

    environ = {
        "SVCDNS_FORWARD_ZONE": json.dumps(zones),
        "SVCDNS_ACL_NAMES": ",".join(names),
    }
    try:
        config = load(None, environ, {})
    except ConfigError as wrong:
        assert all(len(line.splitlines()) == 1 for line in wrong.lines), wrong.lines
    else:
        assert of_spelt(spelt_options(config)) == config


# check and serve


@pytest.mark.parametrize("command", ["check", "serve"])
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[forward]\nupstreams = ['nowhere']", "svcdns.toml:2: forward.upstreams: 'nowhere' is no upstream"),
        ("[acl]\nnames = ['10.0.0.0/8']", "svcdns.toml:2: acl.names: refuses 127.0.0.1 and ::1"),
        (ZONE + ZONE, "svcdns.toml:4: forward.zone: zone 2: a.example is listed before"),
        ("[forward]\nca = 'nosuch'", "forward.ca: {}/nosuch: can't be read: no such file or directory"),
        ("[forward]\nca = 'svcdns.toml'", "forward.ca: {}/svcdns.toml: holds no certificates in PEM format"),
        ("[forward]\nca = '.'", "forward.ca: {}: can't be read: is a directory"),
        (
            "[api]\ntls_cert = 'one.crt'\ntls_key = 'other.key'",
            "api.tls_key: {0}/other.key: does not belong to the certificate in {0}/one.crt",
        ),
    ],
)
def test_check_and_serve_refuse_it_with_one_line(
    tmp_path: Path, command: str, text: str, expected: str
) -> None:
    ca = certificates.make_ca()
    (tmp_path / "one.crt").write_bytes(certificates.make_server(ca, ["localhost"]).certificate_pem)
    (tmp_path / "other.key").write_bytes(certificates.make_server(ca, ["localhost"]).key_pem)
    (tmp_path / "svcdns.toml").write_text(text)
    ran = svcdns(command, "--config", "svcdns.toml", cwd=tmp_path)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr.startswith("svcdns: ")
    assert ran.stderr.count("\n") == 1, ran.stderr
    assert expected.format(tmp_path) in ran.stderr


def test_check_takes_certificates_to_trust(tmp_path: Path) -> None:
    (tmp_path / "ca.crt").write_bytes(certificates.make_ca().certificate_pem)
    (tmp_path / "svcdns.toml").write_text("[forward]\nca = 'ca.crt'\nupstreams = ['192.0.2.1']\n")
    ran = svcdns("check", "--config", "svcdns.toml", cwd=tmp_path)
    assert (ran.returncode, ran.stderr) == (0, "")


@pytest.mark.parametrize(
    "code",
    [
        "from svcdns.cli.main import main; main()",
        "import svcdns.forward.upstreams.https, svcdns.forward.upstreams.upstream",
    ],
)
def test_https_upstreams_take_no_httpx(tmp_path: Path, code: str) -> None:
    (tmp_path / "c.toml").write_text(
        ZONE.replace("192.0.2.1", "https://192.0.2.1/dns-query")
        + "[forward]\nupstreams = ['https://dns.example/dns-query']\n"
    )
    ran = subprocess.run(
        [
            sys.executable,
            "-c",
            f"import sys; sys.modules['httpx'] = None; {code}",
            "check",
            "--config",
            "c.toml",
        ],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=tmp_path,
        env={"PYTHONPATH": str(SOURCE), "PATH": "/usr/bin:/bin"},
    )
    assert (ran.returncode, ran.stderr) == (0, "")


def test_check_warns_of_an_open_resolver(tmp_path: Path) -> None:
    file = tmp_path / "svcdns.toml"
    file.write_text("[acl]\nforward = ['any']\n[forward]\nupstreams = ['192.0.2.1']\n")
    ran = svcdns("check", "--config", "svcdns.toml", cwd=tmp_path)
    assert ran.returncode == 0
    assert ran.stderr == (
        "svcdns: acl.forward: allows 0.0.0.0/0, ::/0, beyond private networks: "
        "whoever reaches it can use this server as an open resolver\n"
    )
    for silent in (
        "[acl]\nforward = ['any']\n[forward]\nupstreams = []\n",
        "[acl]\nforward = ['loopback', '10.1.0.0/16', 'fd00::/8', '!192.0.2.0/24']\n"
        "[forward]\nupstreams = ['192.0.2.1']\n",
        "[forward]\nupstreams = ['192.0.2.1']\n",
    ):
        file.write_text(silent)
        assert svcdns("check", "--config", "svcdns.toml", cwd=tmp_path).stderr == ""
