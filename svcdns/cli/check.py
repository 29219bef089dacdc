"""`svcdns check`: what the configuration names, read as the server would, without a server."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from svcdns.config.sections import Config, ConfigError

from .flags import ConfigFlag, with_option_flags
from .outcome import MISTAKE, OK, REFUSED, say

if TYPE_CHECKING:
    from svcdns.config.load import Examined
    from svcdns.manifests.reading import Reading

OutputFlag = Annotated[
    str, typer.Option("--output", "-o", metavar="FORMAT", help="text, or json for programs.")
]


@with_option_flags
def check(flags: Mapping[str, Any], config: ConfigFlag = None, output: OutputFlag = "text") -> None:
    """Check the configuration, its zone files and its manifests, without starting anything.

    Every mistake is one line that says where it stands, and of the manifests all is listed: what would be
    registered, and what not, and why. The etcd that store.etcd names is asked whether it is there and fits;
    nothing is written. Exit code 0 when there is no mistake, 1 when there are some in manifests (with
    --strict-manifests also when anything is left out), 2 when there are others. Flags are those of svcdns
    serve.

    Examples:

        svcdns check --config svcdns.toml

        svcdns check --manifests examples
    """
    if output not in ("text", "json"):
        raise ConfigError(f"--output: {output[:80]!r} is not known; allowed: text, json")
    from svcdns.config.load import examined

    try:
        found = _found(examined(config, os.environ, flags))
    except ConfigError as wrong:
        if output == "text":
            raise
        found = Found(wrong.lines)
    if output == "json":
        typer.echo(json.dumps(found.as_json(), indent=2))
    else:
        found.show(str(config or "defaults"))
    raise typer.Exit(found.code)


@dataclass
class Found:
    """What a check has found."""

    mistakes: list[str]
    """A line each; those of manifests are not among them."""
    warnings: list[str] = field(default_factory=list)
    zones: int = 0
    reading: Reading | None = None
    strict: bool = False

    @property
    def code(self) -> int:
        """Return the exit code."""
        not_taken = self.reading.not_taken if self.reading else ()
        is_wrong = any(one.is_mistake or self.strict for one in not_taken)
        return MISTAKE if self.mistakes else REFUSED if is_wrong else OK

    def as_json(self) -> dict[str, Any]:
        """Return all of it as JSON holds it."""
        from .listing import entries

        listed = entries(self.reading) if self.reading else []
        said = {"mistakes": self.mistakes, "warnings": self.warnings, "zones": self.zones}
        return {**said, "manifests": [entry.as_json() for entry in listed]}

    def show(self, name: str) -> None:
        """Print it for people; `name` is that of the configuration."""
        from svcdns.manifests.saying import counted

        from .listing import lines

        assert self.reading is not None
        for line in lines(self.reading):
            typer.echo(line)
        for line in self.mistakes or self.warnings:
            say(line)
        if self.mistakes:
            return
        numbers = [_count(self.zones, "zone"), _count(len(self.reading.manifests), "manifest")]
        not_taken = self.reading.not_taken
        if self.code:
            say(f"{name}: {counted(not_taken)}; {', '.join(numbers)}")
        else:
            left_out = [counted(not_taken)] if not_taken else []
            typer.echo(f"{name}: no mistakes; {', '.join([*numbers, *left_out])}")


def mistakes_in_files(config: Config) -> list[str]:
    """Return what in zone files and manifests keeps a server from starting, a line each."""
    lines = _zones(config)[1]
    if config.strict_manifests:
        lines += map(str, _reading(config).not_taken)
    return lines


def _found(examined: Examined) -> Found:
    """Return all that is wrong: with the configuration, and in the files that its good part names."""
    from svcdns.config import checks
    from svcdns.config.load import misspelt_variables
    from svcdns.manifests.files import warnings as manifest_warnings
    from svcdns.server import preflight

    there = tuple(path for path in examined.config.manifests if path.exists())
    config = replace(examined.config, manifests=there)
    zones, wrong_zones, remarks = _zones(config)
    wrong_etcd, remarks_on_etcd = _etcd(config)
    mistakes = [*examined.mistakes, *preflight.mistakes(config), *wrong_zones, *wrong_etcd]
    warnings = (
        []
        if mistakes
        else [
            *preflight.warnings(config.api),
            *misspelt_variables(os.environ),
            *checks.warnings(config),
            *remarks,
            *remarks_on_etcd,
            *manifest_warnings(config.manifests),
            *preflight.resolv_conf_warnings(config),
        ]
    )
    return Found(mistakes, warnings, zones, _reading(config), config.strict_manifests)


def _etcd(config: Config) -> tuple[list[str], list[str]]:
    """Return what keeps the etcd of [store] from being used, and what may once, a line each."""
    if not config.store.etcd:
        return [], []
    import asyncio

    from svcdns.server.etcd_preflight import tried

    return asyncio.run(tried(config))


def _zones(config: Config) -> tuple[int, list[str], list[str]]:
    """Return how many zone files can be loaded, the mistakes in the others, and what is ignored, as lines."""
    import asyncio

    from svcdns.zonefiles.checking import check_zone_files

    dns = config.dns
    files = asyncio.run(check_zone_files(dns.zones, config.cluster_domain, dns.reverse_zones))
    mistakes = [status.error for status in files if status.error]
    remarks = [f"{dns.zones / status.file}: {remark}" for status in files for remark in status.remarks]
    return len(files) - len(mistakes), mistakes, remarks


def _reading(config: Config) -> Reading:
    from svcdns.manifests.reading import read_manifests

    reading = read_manifests(config.manifests)
    referred = {one.namespace for one in reading.manifests if one.kind.namespaced}
    return reading.in_namespaces(_stored_namespaces(config, referred))


def _stored_namespaces(config: Config, names: Collection[str]) -> list[str]:
    """Return which of these namespaces are there: the first ones, and those in data that can be read."""
    import lmdb

    from svcdns.manifests.manifests import is_stored
    from svcdns.objects.kinds import FIRST_NAMESPACES, NAMESPACE
    from svcdns.registry.registry import Registry
    from svcdns.store.damage import Damaged
    from svcdns.store.environment import NotThere, open_store

    found = [*FIRST_NAMESPACES]
    others = [name for name in names if name not in found]
    if not others:
        return found
    try:
        store = open_store(config.data, "reader")
    except (NotThere, Damaged, lmdb.Error, OSError):
        return found
    try:
        registry = Registry(store, config)
        return found + [name for name in others if is_stored(registry, NAMESPACE, "", name)]
    finally:
        store.close()


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"
