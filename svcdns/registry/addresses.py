"""Allocation: cluster IPs, node ports and load balancer addresses of Services, none of them twice.

    "ip" family address -> namespace NUL service      a cluster IP
    "lb" family address -> namespace NUL service      a load balancer's address
    "np" port u16       -> namespace NUL service      a node port (all protocols of one Service)
    "at" what           -> the number given out last  the cursor of each range

Everything happens inside the write's transaction: a write that fails allocates nothing.  https://kubernetes.io/docs/concepts/services-networking/cluster-ip-allocation/
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from ipaddress import ip_address
from typing import Any

from svcdns.cluster import allocation
from svcdns.cluster.allocation import Network
from svcdns.cluster.event_messages import range_full, service_messages
from svcdns.cluster.families import choose_families, has_cluster_ip
from svcdns.objects.errors import Cause, StatusError, invalid
from svcdns.objects.service_addresses import cluster_ips, family_of, ingress_addresses, is_headless
from svcdns.objects.service_rules import needs_health_check

from .transaction import WriteTransaction

FULL = 507


def allocate(write: WriteTransaction, old: dict[str, Any] | None, new: dict[str, Any]) -> None:
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


def _allocate(write: WriteTransaction, old: dict[str, Any] | None, new: dict[str, Any]) -> None:
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
        for key in _held(old) - _held(new):
            write.txn.delete(key, db=write.tables.allocations)


def release(write: WriteTransaction, service: dict[str, Any]) -> None:
    """Release all that a Service has."""
    for key in _held(service):
        write.txn.delete(key, db=write.tables.allocations)


def _owner(service: dict[str, Any]) -> bytes:
    return f"{service['metadata']['namespace']}\0{service['metadata']['name']}".encode()


def _address_key(word: bytes, address: str) -> bytes:
    parsed = ip_address(address)
    return word + bytes((parsed.version,)) + parsed.packed


def _port_key(port: int) -> bytes:
    return b"np" + port.to_bytes(2)


def _held(service: dict[str, Any]) -> set[bytes]:
    spec = service.get("spec") or {}
    keys = {_address_key(b"ip", ip) for ip in cluster_ips(spec)}
    keys |= {_port_key(port["nodePort"]) for port in spec.get("ports") or [] if port.get("nodePort")}
    if spec.get("healthCheckNodePort"):
        keys.add(_port_key(spec["healthCheckNodePort"]))
    return keys | {_address_key(b"lb", ip) for ip in ingress_addresses(service)}


def _assign_families(write: WriteTransaction, spec: dict[str, Any]) -> list[Cause]:
    ranges = write.settings.config.services.cluster_ip_ranges
    configured = [f"IPv{network.version}" for network in ranges]
    policy, families, causes = choose_families(spec, list(dict.fromkeys(configured)))
    spec["ipFamilyPolicy"], spec["ipFamilies"] = policy, families
    if is_headless(spec):
        spec["clusterIPs"] = ["None"]
    return causes


def _cluster_ips(write: WriteTransaction, owner: bytes, spec: dict[str, Any]) -> list[Cause]:
    requested = list(spec.get("clusterIPs") or ([spec["clusterIP"]] if spec.get("clusterIP") else []))
    given: list[str] = []
    causes: list[Cause] = []
    del requested[len(spec["ipFamilies"]) :]
    for index, family in enumerate(spec["ipFamilies"]):
        networks = _of_family(write.settings.config.services.cluster_ip_ranges, family)
        wanted = requested[index] if index < len(requested) else ""
        if wanted:
            causes += _claim(write, b"ip", owner, wanted, networks, f"spec.clusterIPs[{index}]", family)
            given.append(wanted)
        else:
            given.append(_hand_out(write, b"ip", owner, networks, f"spec.clusterIPs[{index}]"))
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
    if family and family_of(address) != family:
        return [_refused(path, address, f"is not of the family {family}")]
    number = int(ip_address(address))
    within = any(
        network.version == ip_address(address).version and number in allocation.usable(network)
        for network in networks
    )
    if not within:
        ranges = ", ".join(map(str, networks)) or "none is configured"
        return [_refused(path, address, f"is not within the range of valid IPs ({ranges})")]
    if holder is not None:
        return [_refused(path, address, "provided IP is already allocated")]
    write.txn.put(key, owner, db=write.tables.allocations)
    return []


def _refused(path: str, value: object, why: str) -> Cause:
    return Cause("FieldValueInvalid", f'Invalid value: "{value}": failed to allocate {value}: {why}', path)


def _hand_out(
    write: WriteTransaction, word: bytes, owner: bytes, networks: Sequence[Network], path: str
) -> str:
    """Take the next free address of the first range that has one."""
    for network in networks:
        cursor_key = b"at" + word + str(network).encode()
        size = 4 if network.version == 4 else 16
        prefix = word + bytes((network.version,))
        number = _next(write, cursor_key, prefix, size, allocation.usable(network))
        if number is not None:
            address = allocation.address(number, network)
            write.txn.put(prefix + address.packed, owner, db=write.tables.allocations)
            return str(address)
    full = ", ".join(map(str, networks))
    raise StatusError(FULL, "InsufficientStorage", f"{path}: no address is free: the range {full} is full")


def _next(write: WriteTransaction, cursor_key: bytes, prefix: bytes, size: int, numbers: range) -> int | None:
    table = write.tables.allocations
    last = write.txn.get(cursor_key, db=table)

    def in_use(start: int) -> Iterator[int]:
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
    return number


def _node_ports(write: WriteTransaction, owner: bytes, spec: dict[str, Any]) -> list[Cause]:
    """Claim the node ports that are named, hand out those that are wanted and not named."""
    wants = spec.get("type") == "NodePort" or (
        spec.get("type") == "LoadBalancer" and spec.get("allocateLoadBalancerNodePorts", True)
    )
    if not spec.get("ports"):
        return []
    spec["ports"] = [dict(port) for port in spec["ports"]]
    causes: list[Cause] = []
    for index, port in enumerate(spec["ports"]):
        if port.get("nodePort"):
            causes += _claim_port(write, owner, port["nodePort"], f"spec.ports[{index}].nodePort")
        elif wants:
            port["nodePort"] = _hand_out_port(write, owner)
            write.txn.put(_port_key(port["nodePort"]), owner, db=write.tables.allocations)
    return causes


def _health_check_port(write: WriteTransaction, owner: bytes, spec: dict[str, Any]) -> list[Cause]:
    """Give a load balancer with externalTrafficPolicy Local the port on which nodes say how they are."""
    if not needs_health_check(spec):
        return []
    field = "spec.healthCheckNodePort"
    taken = {port.get("nodePort") for port in spec.get("ports") or []}
    if port := spec.get("healthCheckNodePort"):
        if port in taken:
            return [
                Cause(
                    "FieldValueInvalid", f"Invalid value: {port}: provided port is already allocated", field
                )
            ]
        return _claim_port(write, owner, port, field)
    spec["healthCheckNodePort"] = _hand_out_port(write, owner)
    write.txn.put(_port_key(spec["healthCheckNodePort"]), owner, db=write.tables.allocations)
    return []


def _is_free(write: WriteTransaction, owner: bytes, port: int) -> bool:
    return write.txn.get(_port_key(port), db=write.tables.allocations) in (None, owner)


def _claim_port(write: WriteTransaction, owner: bytes, port: int, path: str) -> list[Cause]:
    numbers = write.settings.config.services.node_port_range
    if port not in numbers:
        why = (
            f"provided port is not in the valid range. The range of valid ports is {numbers[0]}-{numbers[-1]}"
        )
        return [Cause("FieldValueInvalid", f"Invalid value: {port}: {why}", path)]
    if not _is_free(write, owner, port):
        return [
            Cause("FieldValueInvalid", f"Invalid value: {port}: provided port is already allocated", path)
        ]
    write.txn.put(_port_key(port), owner, db=write.tables.allocations)
    return []


def _hand_out_port(write: WriteTransaction, owner: bytes) -> int:
    numbers = write.settings.config.services.node_port_range
    port = _next(write, b"atnp", b"np", 2, numbers)
    if port is None:
        span = f"{numbers[0]}-{numbers[-1]}"
        raise StatusError(
            FULL, "InsufficientStorage", f"spec.ports: no node port is free: the range {span} is full"
        )
    return port


def _load_balancer(
    write: WriteTransaction, owner: bytes, old: dict[str, Any] | None, new: dict[str, Any]
) -> list[Cause]:
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
    causes = []
    if wanted:
        causes = _claim(write, b"lb", owner, wanted, networks, "spec.loadBalancerIP")
    else:
        wanted = _hand_out(write, b"lb", owner, networks, "status.loadBalancer")
    ingress = [{"ip": wanted, "ipMode": "VIP"}]
    new["status"] = {**(new.get("status") or {}), "loadBalancer": {"ingress": ingress}}
    return causes
