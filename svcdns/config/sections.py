"""The configuration: every option that there is, declared once.

One frozen dataclass a section of the TOML file, one field an option (see `options`).  The text below a field
is its row in docs/config.md, written by tools/config_tables.py; five sections stand in `seeing` and
`sharing`.  `load` says where a value may come from, `checks` which options contradict each other.  Standard
library only: the supervisor reads this.
"""

# No `from __future__ import annotations` here: `options` reads the types, which are text with it.

from dataclasses import dataclass, fields
from ipaddress import ip_address, ip_network
from pathlib import Path

from . import readers as read
from .acl import entries
from .container_engines import ContainerEngine as ContainerEngine
from .container_engines import container_engines
from .options import Flag, Option, option, options_of
from .readers import Endpoint as Endpoint
from .readers import Network as Network
from .seeing import ConsoleConfig, DnstapConfig, QueryLogConfig, TapConfig
from .sharing import StoreConfig
from .tables import POLICIES as POLICIES
from .tables import ROLES as ROLES
from .tables import ForwardZone as ForwardZone
from .tables import Grant as Grant
from .tables import forward_zones, grants
from .upstream_spec import upstream

PRIVATE_NETWORKS = tuple(
    ip_network(one)
    for one in (
        *("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "127.0.0.0/8"),
        *("fc00::/7", "::1/128"),
    )
)
"""Of private use (RFC 1918, RFC 4193, RFC 6598), and loopback."""
_SECONDS = "seconds"
_DAY = 86_400
_REVERSE = ("in-addr.arpa", "ip6.arpa")


class ConfigError(Exception):
    """Mistakes in the configuration, each one line: where, what is wrong, what is allowed."""

    @property
    def lines(self) -> list[str]:
        """Return them, at least one."""
        return [str(line) for line in self.args]

    def __str__(self) -> str:
        return "\n".join(self.lines)


@dataclass(frozen=True, slots=True)
class ServicesConfig:
    """[services]: what Services are given."""

    cluster_ip_ranges: tuple[Network, ...] = option(
        (ip_network("10.96.0.0/12"),),
        read.each(read.service_network, least=1),
        shapes_answers=True,
        flag=Flag("--cluster-ip-range", "NETWORK", "Take cluster IPs from here; may be repeated.", place=9),
    )
    """Where cluster IPs come from; the first range's family is the primary one. Add a range of the other
    family for dual stack."""
    node_port_range: range = option(range(30000, 32768), read.port_range)
    """Where node ports come from."""
    load_balancer_ranges: tuple[Network, ...] = option(
        (), read.each(read.service_network), shapes_answers=True
    )
    """Where LoadBalancer Services get an address from; without one they stay pending."""
    kubernetes: bool = option(False)
    """`true`: the Service `default/kubernetes` leads to this server's own API (of replicas: to all of
    theirs), as in a cluster; it is made at start, and put back when somebody deletes or changes it."""


@dataclass(frozen=True, slots=True)
class DnsConfig:
    """[dns]: what is answered, where, and how."""

    listen: tuple[Endpoint, ...] = option(
        (Endpoint("127.0.0.1", 1053),),
        read.listen_addresses,
        shapes_answers=True,  # where no addresses are advertised
        flag=Flag("--dns", "HOST:PORT", "Answer DNS here, UDP and TCP; may be repeated.", place=1),
    )
    """Addresses for UDP and TCP. `0.0.0.0:53` and `[::]:53` are fine: answers come from the address that was
    asked."""
    workers: int = option(
        0,
        read.between(0, 256, "(0 = one for each core)"),
        flag=Flag("--workers", "N", "DNS processes; 0 is one for each core.", place=6),
    )
    """DNS worker processes; 0 is one for each core."""
    ttl: int = option(5, read.between(0, 3600, _SECONDS), shapes_answers=True)
    """TTL of records in seconds, 0 to 3600. The annotation `svcdns.io/dns-ttl` on a Service overrides it."""
    negative_ttl: int = option(5, read.between(0, 3600, _SECONDS), shapes_answers=True)
    """How long a resolver may remember that there is no such name, in seconds."""
    udp_size: int = option(1232, read.between(512, 4096, "octets"))
    """Largest UDP answer in octets, and what our OPT says."""
    short_names: bool = option(True, shapes_answers=True)
    """`SVC.NS.cluster.local` answers like `SVC.NS.svc.cluster.local`."""
    pods: str = option("verified", read.one_of("verified", "insecure", "disabled"), shapes_answers=True)
    """`A-B-C-D.NS.pod.cluster.local`: of registered Pods (`verified`), of any address (`insecure`), or not at
    all (`disabled`)."""
    endpoint_pod_names: bool = option(False, shapes_answers=True)
    """An endpoint without a hostname is called after its Pod instead of its address."""
    ignore_empty_service: bool = option(False, shapes_answers=True)
    """A ClusterIP Service without a ready endpoint does not exist."""
    explain_empty: bool = option(True)
    """`true`: NXDOMAIN for a name of a Service that is registered says why, to who asks with EDNS, in an
    Extended DNS Error ("no ready endpoint: 0 of 2 are ready")."""
    namespaces: tuple[str, ...] = option((), read.each(read.namespace), shapes_answers=True)
    """Serve only these namespaces; `[]` is all."""
    namespace_labels: str = option("", read.label_selector, shapes_answers=True)
    """Serve only namespaces whose labels this selector matches. Not together with `namespaces`."""
    reverse_zones: tuple[str, ...] = option(_REVERSE, read.each(read.reverse_zone), shapes_answers=True)
    """Zones in which PTRs are served."""
    advertise_addresses: tuple[str, ...] = option((), read.each(read.address), shapes_answers=True)
    """Addresses of `ns.dns.cluster.local`; `[]` is those listened on (never a wildcard, no loopback while
    there is another)."""
    fallthrough: tuple[str, ...] = option(_REVERSE, read.each(read.zone), shapes_answers=True)
    """Zones whose unknown names go on to zone files and upstreams; `["."]` is all. Addresses of our own
    ranges never do."""
    alias_zones: tuple[str, ...] = option((), read.each(read.alias_zone), shapes_answers=True)
    """Zones below which a Service may have names of its own, by the annotation `svcdns.io/aliases`, such as
    `["home.arpa"]`; `[]` is none. Names there that no Service has are asked for as ever."""
    external_dns_annotation: bool = option(False, shapes_answers=True)
    """`true`: the annotation `external-dns.alpha.kubernetes.io/hostname` gives aliases too."""
    zones: Path = option(Path("zones"))
    """Folder of zone files (`*.zone`, `*.db`, `db.*`; RFC 1035). A changed file is taken over when it parses,
    and refused with file and line when it does not."""
    transfer_to: tuple[Network, ...] = option((), read.each(read.network))
    """Networks that may transfer zones (AXFR, IXFR): a short form of `transfer` in `[acl]`; both count."""
    notify: tuple[Endpoint, ...] = option((), read.each(read.name_server))
    """Secondaries that are told at once when a zone has changed (NOTIFY), `ADDRESS` or `ADDRESS:PORT`; they
    have to be in `transfer_to` too."""
    catalog_zone: str = option("", read.catalog_zone)
    """Origin of a catalog zone (RFC 9432), such as `catalog.example`, which lists all zones that are served;
    "" is none. No zone file may have it."""
    tsig_keys: Path | None = option(None)
    """File of TSIG keys, as `tsig-keygen NAME` prints them. With it a transfer has to be signed by one of
    them, and NOTIFYs are signed with the first."""


@dataclass(frozen=True, slots=True)
class ForwardConfig:
    """[forward]: where names that are not ours are asked for."""

    upstreams: tuple[str, ...] = option(("/etc/resolv.conf",), read.each(upstream))
    """Whom to ask (see below); `[]` forwards nothing but the zones of `zone`."""
    policy: str = option(POLICIES[0], read.one_of(*POLICIES))
    """In which order upstreams that answer are tried: `sequential` (as listed), `random`, or
    `round_robin`."""
    ca: Path | None = option(None)
    """File of certificates (PEM) to trust for `tls://` and `https://` upstreams, instead of those that the
    system trusts."""
    outstanding: int = option(10_000, read.between(1, 1_000_000, "questions"))
    """Clients' questions that may wait for upstreams at one time; above that the answer is SERVFAIL (EDE 23)
    at once."""
    outstanding_per_client: int = option(1_000, read.between(1, 1_000_000, "questions"))
    """The same for one client's address; more than `outstanding` is no limit, and warned of."""
    zone: tuple[ForwardZone, ...] = option((), forward_zones)
    """Zones with upstreams of their own, one `[[forward.zone]]` each: `name`, `upstreams`, `policy`. The
    longest zone that holds a name decides, zone files and reverse zones of ours included (but not our own
    ranges). As a variable: JSON."""

    @property
    def forwards(self) -> bool:
        """Whether anything is forwarded at all."""
        return bool(self.upstreams or self.zone)


@dataclass(frozen=True, slots=True)
class CacheConfig:
    """[cache]: what is remembered of forwarded answers."""

    octets: int = option(64 << 20, read.cache_octets)
    """Size of the cache (64 MiB): 0, or 1048576 (1 MiB) and more. `0` remembers nothing."""
    max_ttl: int = option(_DAY, read.between(1, 7 * _DAY, _SECONDS))
    """Longest time for which an answer is remembered, in seconds, up to 604800."""
    max_negative_ttl: int = option(3_600, read.between(1, _DAY, _SECONDS))
    """The same for "there is no such name" and "none of this type", up to 86400."""
    stale: int = option(_DAY, read.between(0, 7 * _DAY, _SECONDS))
    """For how many seconds an answer that has run out may stand in while no upstream answers, with a TTL of
    30 (RFC 8767); 0 is never."""


@dataclass(frozen=True, slots=True)
class AclConfig:
    """[acl]: who may ask for what: networks, "any", "private" or "loopback"; a leading "!" refuses.

    Of several that hold an address the longest prefix decides; an address in none is refused.
    """

    names: tuple[str, ...] = option(("any",), entries)
    """Our own names."""
    forward: tuple[str, ...] = option(("loopback", "private"), entries)
    """All other names."""
    transfer: tuple[str, ...] = option((), entries)
    """Whole zones (AXFR, IXFR), beside `transfer_to` in `[dns]`."""


@dataclass(frozen=True, slots=True)
class ApiConfig:
    """[api]: where the admin API listens, and who may do what there."""

    listen: Endpoint = option(
        Endpoint("127.0.0.1", 8053),
        read.endpoint,
        flag=Flag("--api", "HOST:PORT", "Serve the REST API here.", place=2),
    )
    """Where the API listens."""
    advertise_addresses: tuple[str, ...] = option((), read.each(read.address))
    """Addresses at which others reach the API: endpoints of the Service that `kubernetes` in `[services]`
    keeps. `[]` is where it listens; for `0.0.0.0` and `[::]`, the address from which this machine sends to
    others, whatever it is at the time."""
    insecure: bool = option(False)
    """`true`: serve without TLS and credentials away from loopback. Whoever reaches the port may then change
    everything."""
    names: tuple[str, ...] = option((), read.each(read.host_name))
    """Host names, beside `localhost`, by which an API on loopback that asks nobody who they are may be
    addressed; IP addresses always may."""
    tls_cert: Path | None = option(None)
    """Certificate of the server (PEM, the chain behind it); it is read again when it changes."""
    tls_key: Path | None = option(None)
    """Its key, without a password."""
    client_ca: Path | None = option(None)
    """CA whose client certificates say who somebody is."""
    tokens: Path | None = option(None)
    """File of token hashes, see `svcdns token`; read again when it changes."""
    audit_log: Path | None = option(None)
    """File for the audit log, a line of JSON for each write; it is opened anew when it was moved away.
    Without it the lines stand in the log of the server."""
    hints: bool = option(True)
    """`true`: a write is answered with a warning, and an Event follows, where what was written has no answer
    yet: a selector that matches no Pod, a Pod without an address. `false`: as kube-apiserver, without."""
    access_log: bool = option(False)
    """`true`: a line in the log for each request, reads too."""
    grant: tuple[Grant, ...] = option((), grants)
    """Who may do what, one `[[api.grant]]` each: `user` or `group`, `role` (`view`, `node`, `edit`, `admin`,
    `heartbeat`), `namespaces`. As a variable: JSON."""

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach it."""
        return ip_address(self.listen.host).is_loopback

    @property
    def authenticates(self) -> bool:
        """Whether clients have to say who they are."""
        return self.tokens is not None or self.client_ca is not None


@dataclass(frozen=True, slots=True)
class ProxyConfig:
    """[proxy]: traffic to the addresses of Services, on this host."""

    serve: bool = option(
        False, flag=Flag("--proxy", "", "Carry traffic to the addresses of Services on this host.", place=8)
    )
    """`true`: `svcdns serve` carries traffic too, as `svcdns proxy` does where it runs by itself."""
    engine: str = option("auto", read.one_of("auto", "nft", "user"))
    """What carries it: packet rules of the kernel (`nft`), or a relay that needs no rights (`user`). `auto`
    is `nft` where that may be, else `user`, and the log says why."""
    node: str = option("", read.node_name)
    """The name of this node; "" is the host's name. Endpoints with this `nodeName` are local to it."""
    register: bool = option(True)
    """`true`: the proxy keeps a Node of that name in the registry, with the node's own addresses, and its
    Lease; labels are yours, such as its zone. One that another program keeps is left alone."""
    node_addresses: tuple[str, ...] = option((), read.each(read.address))
    """The node's own addresses; `[]` is what is found: the address from which this host sends to others."""
    node_port_addresses: tuple[str, ...] = option(("primary",), read.each(read.node_port_addresses))
    """Where node ports are offered: `primary` (the node's own addresses), `localhost` (127.0.0.1 and ::1, by
    sockets; the engine `user` always does), `all` (but loopback), or networks."""
    local_networks: tuple[str, ...] = option(("auto",), read.each(read.local_network))
    """Networks of containers and VMs behind this host; `auto` stands for those that are found."""
    external_ips: tuple[Network, ...] = option((), read.each(read.network))
    """Networks in which Services may claim `externalIPs`; `[]` is none: whoever may write a Service could
    take traffic to any address otherwise (CVE-2020-8554)."""
    routes: bool = option(True)
    """`true`: the ranges of Services get routes of their own, but for one that something else leads to
    already; the log names what that is."""
    hairpin: bool = option(True)
    """`true`: where br_netfilter is on, ports of local bridges may send frames back where they came from, so
    a container reaches itself through its Service."""
    docker: str = option("auto", read.one_of("auto", "off"))
    """`auto`: where Docker's chain DOCKER-USER is, one rule there lets traffic to Services pass; `off` leaves
    Docker's rules alone."""
    forwarding: str = option("leave", read.one_of("leave", "enable"))
    """`enable`: IP forwarding is switched on where it is off; `leave` leaves it as it is."""
    announce: tuple[str, ...] = option((), read.each(read.interface))
    """Interfaces, such as `eth0`, on which this host answers for the load balancer addresses of Services
    (ARP, NDP); hosts that do so in one network share them, and need `register`. Takes forwarding, and
    `routes`."""
    reset_removed: bool = option(False)
    """`true`: TCP connections to an endpoint that has left are reset; else they last while it answers."""
    healthz: Endpoint = option(Endpoint("127.0.0.1", 10256), read.endpoint)
    """Where the proxy answers `/healthz` and `/metrics`."""


@dataclass(frozen=True, slots=True)
class ProbesConfig:
    """[probes]: asking Pods themselves whether they are ready, as their probes say."""

    run: bool = option(True)
    """`true`: this server runs them. `false`: such a Pod goes by what is reported of it."""
    networks: tuple[Network, ...] = option(PRIVATE_NETWORKS, read.each(read.network, least=1))
    """Where Pods are probed: whoever may register one chooses where this server connects to. Link-local and
    multicast addresses are never probed."""


@dataclass(frozen=True, slots=True)
class Config:
    """The whole configuration; `load` gives it with every path absolute."""

    cluster_domain: str = option("cluster.local", read.cluster_domain, shapes_answers=True)
    """The zone below which Services and Pods have their names."""
    data: Path = option(
        Path("svcdns-data"), flag=Flag("--data", "DIR", "Keep the state here; made where missing.", place=3)
    )
    """The folder of the store. It is made with mode 0700 and locked while a server runs on it; a local file
    system is needed."""
    manifests: tuple[Path, ...] = option(
        (),
        flag=Flag(
            "--manifests",
            "PATH",
            "Apply this YAML or JSON file, or a folder of them, at start; may be repeated.",
            place=4,
        ),
    )
    """Files or folders of YAML or JSON that are applied at each start. They win for the fields that they
    name, bring back what was deleted, and never delete. What can't be registered is named in the log and
    keeps nothing else away, see [manifests.md](manifests.md)."""
    strict_manifests: bool = option(
        False,
        flag=Flag(
            "--strict-manifests",
            "",
            "End the start where a manifest can't be registered, all named.",
            place=5,
        ),
    )
    """`true`: a first start ends with exit code 1 where anything in the manifests can't be registered, and
    each of it is named; later starts apply none of them then."""
    user: str = option("", read.user)
    """Started as root: become this user once all sockets are bound."""
    log: str = option(
        "info",
        read.one_of("debug", "info", "warning", "error"),
        flag=Flag("--log", "LEVEL", "debug, info, warning or error.", place=7),
    )
    """`debug`, `info`, `warning` or `error`."""
    containers: tuple[ContainerEngine, ...] = option(
        (),
        container_engines,
        flag=Flag(
            "--containers",
            "ENDPOINT",
            "Register the containers of this engine, such as unix:///run/docker.sock; may be repeated.",
            place=10,
            key="endpoint",
        ),
    )
    """Engines (Docker, Podman) whose containers are registered, one `[[containers]]` each, see below and
    [containers.md](containers.md#register-them). As a variable: JSON, or one endpoint."""
    store: StoreConfig = StoreConfig()
    services: ServicesConfig = ServicesConfig()
    dns: DnsConfig = DnsConfig()
    forward: ForwardConfig = ForwardConfig()
    cache: CacheConfig = CacheConfig()
    acl: AclConfig = AclConfig()
    api: ApiConfig = ApiConfig()
    proxy: ProxyConfig = ProxyConfig()
    probes: ProbesConfig = ProbesConfig()
    console: ConsoleConfig = ConsoleConfig()
    tap: TapConfig = TapConfig()
    query_log: QueryLogConfig = QueryLogConfig()
    dnstap: DnstapConfig = DnstapConfig()

    @property
    def transfers(self) -> bool:
        """Whether anybody may transfer zones."""
        return bool(self.dns.transfer_to or self.acl.transfer)


SECTIONS: dict[str, type] = {one.name: type(one.default) for one in fields(Config) if not one.metadata}
"""The sections of the file, each with the class that declares its options."""

OPTIONS: dict[str, Option] = {
    one.name: one for name, section in {"": Config, **SECTIONS}.items() for one in options_of(section, name)
}
"""Every option by its name ("dns.ttl"), in the order of docs/config.md."""
