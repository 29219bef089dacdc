"""What is registered in these tests, what stands outside, and what each name must answer on a host.

`FULL` says under which whole name each name is meant; `expected` what a program finds there, given what
it tries (`Client.searches`).
"""

import json
from pathlib import Path
from typing import Any

from forward.hosts.lookups import AGAIN, NONE, Client
from toolbox import builders

ZONE = "cluster.local"
SVC = f"default.svc.{ZONE}"

OWN_ADDRESSES: dict[str, frozenset[str]] = {
    f"web.{SVC}": frozenset(("10.96.0.80", "fd00:96::80")),
    f"db.{SVC}": frozenset(("10.1.2.3", "10.1.2.4", "fd00:1::3", "fd00:1::4")),
    f"db-0.db.{SVC}": frozenset(("10.1.2.3", "fd00:1::3")),
    f"10-1-2-3.default.pod.{ZONE}": frozenset(("10.1.2.3",)),
}
"""By whole name; with IPv4 alone only the IPv4 ones."""

OUTSIDE_ADDRESSES: dict[str, frozenset[str]] = {
    "www.example.com": frozenset(("192.0.2.10", "2001:db8::10")),
    "four.example.com": frozenset(("192.0.2.4",)),
    "alias.example.com": frozenset(("192.0.2.10", "2001:db8::10")),
}
MANY = "many.example.com"
MANY_ADDRESSES = frozenset(f"198.51.100.{number}" for number in range(1, 101))
"""Of a name whose addresses are too many for an answer over UDP."""
ANY = ".any.example.com"
ANY_ADDRESSES = frozenset(("192.0.2.99", "2001:db8::99"))
"""Of each name that ends so: for names that nobody has asked for yet."""

RECORDS = (
    "".join(f"{MANY}. 300 IN A {address}\n" for address in sorted(MANY_ADDRESSES))
    + """\
www.example.com. 300 IN A 192.0.2.10
www.example.com. 300 IN AAAA 2001:db8::10
four.example.com. 300 IN A 192.0.2.4
alias.example.com. 300 IN CNAME www.example.com.
*.any.example.com. 300 IN A 192.0.2.99
*.any.example.com. 300 IN AAAA 2001:db8::99
"""
)
"""What the upstreams know; all else is NXDOMAIN there."""

OWN: dict[str, str] = {
    "web": f"web.{SVC}",
    "web.default": f"web.{SVC}",
    "web.default.svc": f"web.{SVC}",
    f"web.{SVC}": f"web.{SVC}",
    f"web.{SVC}.": f"web.{SVC}",
    "WEB.Default.SVC": f"web.{SVC}",
    "db": f"db.{SVC}",
    "db-0.db": f"db-0.db.{SVC}",
    "db-0.db.default": f"db-0.db.{SVC}",
    f"db-0.db.{SVC}": f"db-0.db.{SVC}",
    f"10-1-2-3.default.pod.{ZONE}": f"10-1-2-3.default.pod.{ZONE}",
    "10-1-2-3.default.pod": f"10-1-2-3.default.pod.{ZONE}",
    f"nosuch.{SVC}": f"nosuch.{SVC}",
    f"nosuch.{SVC}.": f"nosuch.{SVC}",
    f"nosuch.nowhere.svc.{ZONE}": f"nosuch.nowhere.svc.{ZONE}",
    f"10-1-2-9.default.pod.{ZONE}": f"10-1-2-9.default.pod.{ZONE}",
}
"""What is asked for, and the whole name of ours that is meant."""

OUTSIDE: dict[str, str] = {
    "www.example.com": "www.example.com",
    "www.example.com.": "www.example.com",
    "four.example.com": "four.example.com",
    "alias.example.com": "alias.example.com",
    "nosuch.example.com": "nosuch.example.com",
    "nosuch.example.org.": "nosuch.example.org",
    "nosuch": "nosuch",
}
"""The same for names outside; a single label that nothing of ours has is asked outside at last."""

ALIASES: dict[str, str] = {
    "docs": "www.example.com",
    "docs.default.svc": "www.example.com",
    f"docs.{SVC}": "www.example.com",
}
"""ExternalName Services."""


def expected(client: Client, name: str, *, ndots: int, ipv6: bool) -> frozenset[str] | str:
    """Return the addresses that a program finds for one of the names above (or below ANY), or NONE."""
    whole = {**OWN, **OUTSIDE, **ALIASES}.get(name, name)
    if not is_whole(name) and not client.searches(name, ndots):
        return NONE
    if whole.endswith(ANY):
        found = ANY_ADDRESSES
    elif whole in OWN_ADDRESSES:
        found = of_families(OWN_ADDRESSES[whole], frozenset((4, 6)) if ipv6 else frozenset((4,)))
    else:
        found = OUTSIDE_ADDRESSES.get(whole, frozenset())
    return seen(client, found, ipv6=ipv6) or NONE


def expected_without_upstreams(
    client: Client, name: str, *, ndots: int, ipv6: bool
) -> frozenset[frozenset[str] | str]:
    """Return what a program may say while no upstream answers.

    Where it asks for the bare name too and finds nothing, it is the program's affair which of both tells.
    """
    usual = expected(client, name, ndots=ndots, ipv6=ipv6)
    if name in OWN and (usual != NONE or not leaves(client, name, ndots=ndots, ipv6=ipv6)):
        return frozenset((usual,))
    if name in OWN or not client.tells_failure(name, ndots):
        return frozenset((NONE, AGAIN))
    return frozenset((AGAIN,))


def seen(client: Client, addresses: frozenset[str], *, ipv6: bool) -> frozenset[str]:
    """Return those that a program shows on a host with IPv4, and IPv6 perhaps."""
    families = client.families - (frozenset((6,)) if client.only_own_families and not ipv6 else frozenset())
    return of_families(addresses, families)


def of_families(addresses: frozenset[str], families: frozenset[int]) -> frozenset[str]:
    """Return the addresses of some families (4, 6)."""
    return frozenset(text for text in addresses if (6 if ":" in text else 4) in families)


def is_whole(name: str) -> bool:
    """Whether a name can be found without the search list."""
    return name in OUTSIDE or name.endswith(ANY) or name.removesuffix(".").endswith(ZONE)


def leaves(client: Client, name: str, *, ndots: int, ipv6: bool) -> bool:
    """Whether a program also asks for the bare name of one of ours, which is a name outside.

    It does so first from `ndots` dots on, and at last when the search has found nothing.
    """
    if name.removesuffix(".").endswith(ZONE):
        return False
    first = name.count(".") >= ndots
    return first or expected(client, name, ndots=ndots, ipv6=ipv6) == NONE


def manifests(folder: Path, *, ipv6: bool) -> Path:
    """Write the manifests into a folder and return the file."""
    items = [
        _service("web", ("10.96.0.80", "fd00:96::80"), ipv6),
        _service("db", (), ipv6),
        _pod("db-0", ("10.1.2.3", "fd00:1::3"), ipv6),
        _pod("db-1", ("10.1.2.4", "fd00:1::4"), ipv6),
        builders.external("docs", "www.example.com"),
    ]
    file = folder / "world.json"
    file.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))
    return file


def _service(name: str, addresses: tuple[str, ...], ipv6: bool) -> builders.Object:
    """Return a Service with those addresses, or a headless one."""
    families: dict[str, Any] = {"ipFamilyPolicy": "RequireDualStack", "ipFamilies": ["IPv4", "IPv6"]}
    listed = list(addresses[: 1 + ipv6]) or ["None"]
    ports = [{"name": "main", "port": 80}]
    more = families if ipv6 else {}
    return builders.service(name, ports=ports, clusterIP=listed[0], clusterIPs=listed, **more)


def _pod(name: str, addresses: tuple[str, ...], ipv6: bool) -> builders.Object:
    made = builders.pod(name, addresses[0], "db", hostname=name, subdomain="db")
    made["status"] |= {"phase": "Running", "podIPs": [{"ip": one} for one in addresses[: 1 + ipv6]]}
    return made
