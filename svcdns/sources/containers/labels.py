"""What the labels of a container ask for.  https://docs.docker.com/engine/manage-resources/labels/

Whoever starts a container writes them, so they are untrusted: sizes are bounded, and what does not fit is a
`BadLabel` that names the label, its value and what is allowed; nothing of that container is registered then.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from svcdns.objects import syntax
from svcdns.objects.service_aliases import EXTERNAL_DNS_ANNOTATION

PREFIX = "svcdns.io/"
MOST_SERVICES, MOST_PORTS = 20, 32
_MOST_CHARACTERS = 4096
_TRUE, _FALSE = ("true", "1"), ("false", "0")
_PROTOCOLS = ("tcp", "udp", "sctp")
_COPIED = ("app", "com.docker.compose.project", "com.docker.compose.service")
_OWN_LABEL = f"{PREFIX}label."
_KNOWN = frozenset(
    ("enable", "namespace", "service", "hostname", "port", "network", "address", "cluster-ip", "ready",
     "publish-not-ready", "dns-ttl", "aliases")
)  # fmt: skip
AUTO, HEADLESS = "auto", "None"


class BadLabel(ValueError):
    """A label that can't be taken: which, its value, what is allowed."""

    def __init__(self, label: str, value: str, allowed: str) -> None:
        """`allowed` says what would be taken."""
        super().__init__(f"label {label}: {value[:80]!r} is not understood; allowed: {allowed}")


@dataclass(frozen=True, slots=True)
class AskedPort:
    """A port that a label names."""

    name: str
    number: int
    protocol: str = "TCP"


@dataclass(frozen=True, slots=True)
class Asked:
    """What one container asks for; None where it says nothing."""

    enable: bool | None = None
    namespace: str | None = None
    services: tuple[str, ...] | None = None
    hostname: str | None = None
    ports: tuple[AskedPort, ...] | None = None
    network: str = ""
    address: str = "container"
    """`container`, `published`, `host`, or an IP address."""
    cluster_ip: str = HEADLESS
    ready: str = "health"
    publish_not_ready: bool = False
    dns_ttl: str = ""
    aliases: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    """Labels for the Pod."""


def asked(labels: Mapping[str, str]) -> Asked:
    """Return what labels ask for.  Raises BadLabel."""
    given = {key[len(PREFIX) :]: text for key, text in labels.items() if key.startswith(PREFIX)}
    for word, text in given.items():
        if len(text) > _MOST_CHARACTERS:
            raise BadLabel(PREFIX + word[:80], text, f"at most {_MOST_CHARACTERS} characters")
    return Asked(
        enable=_switch(given, "enable"),
        namespace=_name(given, "namespace"),
        services=_services(given),
        hostname=_name(given, "hostname"),
        ports=_ports(given["port"]) if "port" in given else None,
        network=given.get("network", "").strip(),
        address=_address(given.get("address", "container")),
        cluster_ip=_cluster_ip(given.get("cluster-ip", HEADLESS)),
        ready=_word(given, "ready", ("health", "always", "never")),
        publish_not_ready=bool(_switch(given, "publish-not-ready")),
        dns_ttl=_dns_ttl(given.get("dns-ttl", "")),
        aliases=given.get("aliases") or labels.get(EXTERNAL_DNS_ANNOTATION, "")[:_MOST_CHARACTERS],
        labels=_pod_labels(labels),
    )


def unknown(labels: Mapping[str, str]) -> list[str]:
    """Return the labels that look like ours and that nothing reads: most likely misspelt."""
    ours = (key for key in labels if key.startswith(PREFIX) and not key.startswith(_OWN_LABEL))
    return sorted(key[:80] for key in ours if key[len(PREFIX) :] not in _KNOWN)[:MOST_SERVICES]


def is_enabled(labels: Mapping[str, str]) -> bool | None:
    """Return what svcdns.io/enable says, None for nothing or for what is no answer (`asked` refuses it)."""
    text = labels.get(f"{PREFIX}enable", "").strip().lower()
    return True if text in _TRUE else False if text in _FALSE else None


def _switch(given: Mapping[str, str], word: str) -> bool | None:
    if word not in given:
        return None
    text = given[word].strip().lower()
    if text not in (*_TRUE, *_FALSE):
        raise BadLabel(PREFIX + word, given[word], "true, false, 1, 0")
    return text in _TRUE


def _word(given: Mapping[str, str], word: str, allowed: tuple[str, ...]) -> str:
    text = given.get(word, allowed[0]).strip().lower()
    if text not in allowed:
        raise BadLabel(PREFIX + word, given[word], ", ".join(allowed))
    return text


def _name(given: Mapping[str, str], word: str) -> str | None:
    if word not in given:
        return None
    text = given[word].strip()
    if not re.search("[A-Za-z0-9]", text):
        raise BadLabel(PREFIX + word, given[word], "a name such as db")
    return text


def _services(given: Mapping[str, str]) -> tuple[str, ...] | None:
    if "service" not in given:
        return None
    names = tuple(dict.fromkeys(part.strip() for part in given["service"].split(",") if part.strip()))
    if len(names) > MOST_SERVICES:
        raise BadLabel(f"{PREFIX}service", given["service"], f"at most {MOST_SERVICES} names")
    for name in names:
        if not re.search("[A-Za-z0-9]", name):
            raise BadLabel(f"{PREFIX}service", given["service"], "names such as db, or db,db-ro")
    return names


def _ports(text: str) -> tuple[AskedPort, ...]:
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if len(parts) > MOST_PORTS:
        raise BadLabel(f"{PREFIX}port", text, f"at most {MOST_PORTS} ports")
    found = [_port(part, text, alone=len(parts) == 1) for part in parts]
    names = [one.name for one in found]
    if len({*names}) < len(names) or len({(one.number, one.protocol) for one in found}) < len(names):
        raise BadLabel(f"{PREFIX}port", text, "each name and each number once")
    return tuple(found)


def _port(part: str, text: str, *, alone: bool) -> AskedPort:
    name, _, rest = part.rpartition("=")
    number, _, protocol = rest.partition("/")
    protocol = protocol.lower() or "tcp"
    good = re.fullmatch("[0-9]{1,5}", number, re.ASCII) and 0 < int(number) < 65536
    if not good or protocol not in _PROTOCOLS:
        raise BadLabel(f"{PREFIX}port", text, "8080, or http=8080,metrics=9090/tcp,dns=53/udp")
    name = name.strip() or ("default" if alone else f"{protocol}-{int(number)}")
    if syntax.port_name_errors(name):
        raise BadLabel(f"{PREFIX}port", text, "port names of at most 15 lower-case letters, digits and '-'")
    return AskedPort(name, int(number), protocol.upper())


def _address(text: str) -> str:
    word = text.strip()
    if word.lower() in ("container", "published", "host"):
        return word.lower()
    address = syntax.parse_address(word)
    if address is None or syntax.unicast_errors(word):
        raise BadLabel(f"{PREFIX}address", text, "container, published, host, or an IP address")
    return str(address)


def _cluster_ip(text: str) -> str:
    word = text.strip()
    if word.lower() in ("none", AUTO):
        return AUTO if word.lower() == AUTO else HEADLESS
    address = syntax.parse_address(word)
    if address is None:
        raise BadLabel(f"{PREFIX}cluster-ip", text, "None, auto, or an address of cluster_ip_ranges")
    return str(address)


def _dns_ttl(text: str) -> str:
    word = text.strip()
    if word and not (re.fullmatch("[0-9]{1,4}", word, re.ASCII) and int(word) <= 3600):
        raise BadLabel(f"{PREFIX}dns-ttl", text, "seconds from 0 to 3600")
    return word


def _pod_labels(labels: Mapping[str, str]) -> dict[str, str]:
    """Return the labels of the Pod: those that are asked for, and those that people select by."""
    found = {
        key: labels[key] for key in _COPIED if key in labels and not syntax.label_value_errors(labels[key])
    }
    for key, value in labels.items():
        if key.startswith(_OWN_LABEL):
            own = key.removeprefix(_OWN_LABEL)
            if syntax.key_errors(own) or syntax.label_value_errors(value) or own.startswith(PREFIX):
                raise BadLabel(key[:300], value, "a Kubernetes label, such as svcdns.io/label.tier=backend")
            found[own] = value
    return found
