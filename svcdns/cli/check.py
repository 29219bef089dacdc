"""`svcdns check`: what the configuration names, read as the server would, without a server."""

from __future__ import annotations

import asyncio

from svcdns.config.sections import Config
from svcdns.manifests.manifests import ManifestError, check_manifests, read_manifests
from svcdns.zonefiles.folder import FileStatus, check_zone_files


def check(config: Config) -> tuple[list[str], str]:
    """Return the mistakes in zone files and manifests, a line each, and what there is in one line."""
    zones = asyncio.run(check_zone_files(config.dns.zones, config.cluster_domain, config.dns.reverse_zones))
    documents, wrong = _manifests(config)
    found = [*(status.error for status in zones if status.error), *wrong]
    return found, f"{_count(_loaded(zones), 'zone')}, {_count(documents, 'manifest')}"


def _manifests(config: Config) -> tuple[int, list[str]]:
    try:
        manifests = read_manifests(config.manifests)
    except ManifestError as wrong:
        return 0, [str(wrong)]
    return len(manifests), [str(wrong) for wrong in check_manifests(manifests)]


def _loaded(zones: list[FileStatus]) -> int:
    return sum(not status.error for status in zones)


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"
