"""`svcdns check`: what the configuration names, read as the server would, without a server."""

from __future__ import annotations

import typer

from svcdns.config.sections import Config

from .flags import ConfigFlag, loaded
from .outcome import MISTAKE, say


def check(config: ConfigFlag = None) -> None:
    """Check the configuration, its zone files and its manifests, without starting anything.

    Every mistake is one line that says where it stands. Exit code 0 when there is none, 2 otherwise.

    Example:

        svcdns check --config svcdns.toml
    """
    resolved = loaded(config, {})

    from svcdns.config import checks
    from svcdns.server import preflight

    zones, wrong_zones, remarks = _zones(resolved)
    manifests, wrong_manifests = _manifests(resolved)
    mistakes = [*preflight.mistakes(resolved), *wrong_zones, *wrong_manifests]
    for line in mistakes or [
        *preflight.warnings(resolved.api),
        *checks.warnings(resolved),
        *remarks,
        *preflight.resolv_conf_warnings(resolved),
    ]:
        say(line)
    if mistakes:
        raise typer.Exit(MISTAKE)
    typer.echo(
        f"{config or 'defaults'}: no mistakes; {_count(zones, 'zone')}, {_count(manifests, 'manifest')}"
    )


def mistakes_in_files(config: Config) -> list[str]:
    """Return the mistakes in zone files and manifests, a line each."""
    return [*_zones(config)[1], *_manifests(config)[1]]


def _zones(config: Config) -> tuple[int, list[str], list[str]]:
    """Return how many zone files can be loaded, the mistakes in the others, and what is ignored, as lines."""
    import asyncio

    from svcdns.zonefiles.folder import check_zone_files

    dns = config.dns
    files = asyncio.run(check_zone_files(dns.zones, config.cluster_domain, dns.reverse_zones))
    mistakes = [status.error for status in files if status.error]
    remarks = [f"{dns.zones / status.file}: {remark}" for status in files for remark in status.remarks]
    return len(files) - len(mistakes), mistakes, remarks


def _manifests(config: Config) -> tuple[int, list[str]]:
    """Return how many manifests there are, and the mistakes in them, a line each."""
    from svcdns.manifests.manifests import ManifestError, check_manifests, read_manifests

    try:
        manifests = read_manifests(config.manifests)
    except ManifestError as wrong:
        return 0, [str(wrong)]
    return len(manifests), [str(wrong) for wrong in check_manifests(manifests)]


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"
