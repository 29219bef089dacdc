"""Allocation: cluster IPs, node ports and load balancer addresses of Services, none of them twice.

    "ip" family address -> namespace NUL service      a cluster IP
    "lb" family address -> namespace NUL service      a load balancer's address
    "np" port u16       -> namespace NUL service      a node port (all protocols of one Service)
    "at" what           -> the number given out last  the cursor of each range

Everything happens inside the write's transaction: a write that fails allocates nothing.  https://kubernetes.io/docs/concepts/services-networking/cluster-ip-allocation/
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence

from svcdns.cluster import allocation
from svcdns.cluster.allocation import Network
from svcdns.cluster.event_messages import range_full, service_messages
from svcdns.cluster.families import choose_families, has_cluster_ip
from svcdns.objects.errors import Cause, StatusError, invalid
from svcdns.objects.service_addresses import cluster_ips, family_of, ingress_addresses, is_headless
from svcdns.objects.service_rules import needs_health_check
from svcdns.objects.syntax import address_of

from .facts import packed
from .settings import Settings
from .transaction import Object, WriteTransaction, present

FULL = 507


_WAYS_OUT = (
    "a Service that is to answer another address is headless (clusterIP: None) with an EndpointSlice, "
    "or the ranges are widened by an option of svcdns"
)


def allocate(write: WriteTransaction, old: Object | None, new: Object) -> None:
    """Allocate what a Service needs and release what it no longer needs.

    Raises StatusError: 422 with a cause for each address or port that can't be had, 507 where a
    range is full.
    """
    try:
        _allocate(write, old, new)
    except StatusError as refused:
        if refused.code == FULL:
            write.messages.append(range_full(new, refused.message))
        raise
    write.messages += service_messages(old, new)


def _allocate(write: WriteTransaction, old: Object | None, new: Object) -> None:
    new["spec"] = spec = dict(new["spec"])
    causes: list[Cause] = []
    owner = _owner(new)
    if spec.get("type") == "ExternalName":
        for name in ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"):
            spec.pop(name, None)
    else:
        causes += _assign_families(write, spec)
        if has_cluster_ip(spec) and not causes:
            causes += _cluster_ips(write, owner, spec)
    if not causes:
        causes += _node_ports(write, owner, spec)
        causes += _health_check_port(write, owner, spec)
        causes += _load_balancer(write, owner, old, new)
    if causes:
        raise invalid("Service", new["metadata"]["name"], causes)
    if old is not None:
        for key in held(old) - held(new):
            write.txn.delete(key, db=write.tables.allocations)


def release(write: WriteTransaction, service: Object) -> None:
    """Release all that a Service has."""
    for key in held(service):
        write.txn.delete(key, db=write.tables.allocations)


def follow(write: WriteTransaction, old: Object | None, new: Object | None) -> None:
    """Note what a Service has that was written elsewhere, and no longer what only it had before."""
    table = write.tables.allocations
    before = held(old) if old is not None else set()
    after = held(new) if new is not None else set()
    owner = _owner(present(old, new))
    for key in before - after:
        if write.txn.get(key, db=table) == owner:
            write.txn.delete(key, db=table)
    for key in after:
        write.txn.put(key, owner, db=table)


def cursors(settings: Settings, share: float) -> dict[bytes, bytes]:
    """Return rows by which ranges are walked from a part of them on, `share` from 0 to 1."""
    services = settings.config.services
    words = ((b"ip", services.cluster_ip_ranges), (b"lb", services.load_balancer_ranges))
    ranges = [
        (*_places(word, network), allocation.usable(network)) for word, each in words for network in each
    ]
    ranges.append((b"atnp", b"np", 2, services.node_port_range))
    return {
        key: (numbers.start + int(share * (len(numbers) - 1))).to_bytes(size)
        for key, _, size, numbers in ranges
    }


def _owner(service: Object) -> bytes:
    return f"{service['metadata']['namespace']}\0{service['metadata']['name']}".encode()


def _address_key(word: bytes, address: str) -> bytes:
    return word + packed(address_of(address))


def _port_key(port: int) -> bytes:
    return b"np" + port.to_bytes(2)


def held(service: Object) -> set[bytes]:
    """Return the keys of all addresses and ports that a Service has."""
    spec = service.get("spec") or {}
    keys = {_address_key(b"ip", ip) for ip in cluster_ips(spec)}
    if spec.get("type") != "ExternalName":
        keys |= {_port_key(port["nodePort"]) for port in spec.get("ports") or [] if port.get("nodePort")}
    if spec.get("healthCheckNodePort"):
        keys.add(_port_key(spec["healthCheckNodePort"]))
    return keys | {_address_key(b"lb", ip) for ip in ingress_addresses(service)}


def _assign_families(write: WriteTransaction, spec: Object) -> list[Cause]:
    ranges = write.settings.config.services.cluster_ip_ranges
    configured = [f"IPv{network.version}" for network in ranges]
    policy, families, causes = choose_families(spec, list(dict.fromkeys(configured)))
    spec["ipFamilyPolicy"], spec["ipFamilies"] = policy, families
    if is_headless(spec):
        spec["clusterIPs"] = ["None"]
    return causes


def _cluster_ips(write: WriteTransaction, owner: bytes, spec: Object) -> list[Cause]:
    requested = list(spec.get("clusterIPs") or ([spec["clusterIP"]] if spec.get("clusterIP") else []))
    given: list[str] = []
    causes: list[Cause] = []
    del requested[len(spec["ipFamilies"]) :]
    for index, family in enumerate(spec["ipFamilies"]):
        networks = _of_family(write.settings.config.services.cluster_ip_ranges, family)
        path, wanted = f"spec.clusterIPs[{index}]", requested[index] if index < len(requested) else ""
        if wanted:
            causes += _claim(write, b"ip", owner, wanted, networks, path, family)
        given.append(wanted or _hand_out(write, b"ip", owner, networks, path))
    spec["clusterIPs"], spec["clusterIP"] = given, given[0]
    return causes


def _of_family(networks: Sequence[Network], family: str) -> list[Network]:
    return [network for network in networks if f"IPv{network.version}" == family]


def _claim(
    write: WriteTransaction,
    word: bytes,
    owner: bytes,
    address: str,
    networks: Sequence[Network],
    path: str,
    family: str = "",
) -> list[Cause]:
    """Take the address that a Service asks for; a cause where it can't be had."""
    key = _address_key(word, address)
    holder = write.txn.get(key, db=write.tables.allocations)
    if holder == owner:
        return []
    number = int(address_of(address))
    same = _of_family(networks, family_of(address))
    why = ""
    if family and family_of(address) != family:
        why = f"is not of the family {family}"
    elif not any(number in allocation.usable(network) for network in same):
        ranges = ", ".join(map(str, networks)) or "none is configured"
        why = f"is not within the range of valid IPs ({ranges}); {_WAYS_OUT}"
    elif holder is not None:
        why = "provided IP is already allocated"
    if why:
        text = f'Invalid value: "{address}": failed to allocate {address}: {why}'
        return [Cause("FieldValueInvalid", text, path)]
    write.txn.put(key, owner, db=write.tables.allocations)
    return []


def _hand_out(
    write: WriteTransaction, word: bytes, owner: bytes, networks: Sequence[Network], path: str
) -> str:
    """Take the next free address of the first range that has one."""
    for network in networks:
        number = _take_next(write, owner, *_places(word, network), allocation.usable(network))
        if number is not None:
            return str(allocation.address(number, network))
    raise _full(f"{path}: no address is free: the range {', '.join(map(str, networks))} is full")


@functools.lru_cache(maxsize=64)
def _places(word: bytes, network: Network) -> tuple[bytes, bytes, int]:
    """Return where a range has its cursor, the prefix of its addresses in keys, and their octets."""
    return b"at" + word + str(network).encode(), word + bytes((network.version,)), network.max_prefixlen // 8


def _full(text: str) -> StatusError:
    return StatusError(FULL, "InsufficientStorage", text)


def _take_next(
    write: WriteTransaction, owner: bytes, cursor_key: bytes, prefix: bytes, size: int, numbers: range
) -> int | None:
    """Take the next free number of a range, `size` octets in keys; None where all are in use."""
    table = write.tables.allocations
    last = write.txn.get(cursor_key, db=table)

    def in_use(start: int) -> Iterator[int]:
        if write.txn.get(prefix + start.to_bytes(size), db=table) is None:
            return  # the usual case: the next one is free
        with write.txn.cursor(db=table) as cursor:
            if not cursor.set_range(prefix + start.to_bytes(size)):
                return
            for key in map(bytes, cursor.iternext(values=False)):
                if not key.startswith(prefix):
                    return
                yield int.from_bytes(key[len(prefix) :])

    number = allocation.next_free(numbers, None if last is None else int.from_bytes(last), in_use)
    if number is not None:
        write.txn.put(cursor_key, number.to_bytes(size), db=table)
        write.txn.put(prefix + number.to_bytes(size), owner, db=table)
    return number


def _node_ports(write: WriteTransaction, owner: bytes, spec: Object) -> list[Cause]:
    """Claim the node ports that are named, hand out those that are wanted and not named.

    An ExternalName may name some too; it has none, as in Kubernetes.
    """
    wants = spec.get("type") == "NodePort" or (
        spec.get("type") == "LoadBalancer" and spec.get("allocateLoadBalancerNodePorts", True)
    )
    if not spec.get("ports") or spec.get("type") == "ExternalName":
        return []
    spec["ports"] = [dict(port) for port in spec["ports"]]
    causes: list[Cause] = []
    for index, port in enumerate(spec["ports"]):
        if port.get("nodePort"):
            causes += _claim_port(write, owner, port["nodePort"], f"spec.ports[{index}].nodePort")
        elif wants:
            port["nodePort"] = _hand_out_port(write, owner)
    return causes


def _health_check_port(write: WriteTransaction, owner: bytes, spec: Object) -> list[Cause]:
    """Give a load balancer with externalTrafficPolicy Local the port on which nodes say how they are."""
    if not needs_health_check(spec):
        return []
    field = "spec.healthCheckNodePort"
    if port := spec.get("healthCheckNodePort"):
        if any(other.get("nodePort") == port for other in spec.get("ports") or []):
            text = f"Invalid value: {port}: provided port is already allocated"
            return [Cause("FieldValueInvalid", text, field)]
        return _claim_port(write, owner, port, field)
    spec["healthCheckNodePort"] = _hand_out_port(write, owner)
    write.txn.put(_port_key(spec["healthCheckNodePort"]), owner, db=write.tables.allocations)
    return []


def _claim_port(write: WriteTransaction, owner: bytes, port: int, path: str) -> list[Cause]:
    numbers, table = write.settings.config.services.node_port_range, write.tables.allocations
    why = ""
    if port not in numbers:
        span = f"{numbers[0]}-{numbers[-1]}"
        why = f"provided port is not in the valid range. The range of valid ports is {span}"
    elif write.txn.get(_port_key(port), db=table) not in (None, owner):
        why = "provided port is already allocated"
    if why:
        return [Cause("FieldValueInvalid", f"Invalid value: {port}: {why}", path)]
    write.txn.put(_port_key(port), owner, db=table)
    return []


def _hand_out_port(write: WriteTransaction, owner: bytes) -> int:
    numbers = write.settings.config.services.node_port_range
    port = _take_next(write, owner, b"atnp", b"np", 2, numbers)
    if port is None:
        raise _full(f"spec.ports: no node port is free: the range {numbers[0]}-{numbers[-1]} is full")
    return port


def _load_balancer(write: WriteTransaction, owner: bytes, old: Object | None, new: Object) -> list[Cause]:
    """Give a LoadBalancer its address from our ranges; without a range it stays pending."""
    held = ingress_addresses(old) if old else []
    ranges = write.settings.config.services.load_balancer_ranges
    spec = new["spec"]
    if spec.get("type") != "LoadBalancer":
        if held:
            new["status"] = {**(new.get("status") or {}), "loadBalancer": {}}
        return []
    wanted = spec.get("loadBalancerIP") or ""
    if held and (not wanted or held[0] == wanted):
        new["status"] = {**(new.get("status") or {}), "loadBalancer": old["status"]["loadBalancer"]}  # type: ignore[index]
        return []
    networks = _of_family(ranges, spec["ipFamilies"][0]) if not wanted else list(ranges)
    if not networks:
        return []
    causes = _claim(write, b"lb", owner, wanted, networks, "spec.loadBalancerIP") if wanted else []
    wanted = wanted or _hand_out(write, b"lb", owner, networks, "status.loadBalancer")
    ingress = [{"ip": wanted, "ipMode": "VIP"}]
    new["status"] = {**(new.get("status") or {}), "loadBalancer": {"ingress": ingress}}
    return causes
