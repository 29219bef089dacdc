"""Trying the etcd of [store], as `svcdns check` does: are its members there, may we, and is it our registry?

Nothing is written.  Members that are away are warnings: they may be on hosts that are being started, and a
server waits for them.  What the configuration, or etcd itself, has to be changed for is a mistake.
"""

from __future__ import annotations

import asyncio
import re
from typing import NamedTuple

from svcdns.config.sections import Config
from svcdns.etcd.client import Denied, Etcd, Rejected, Unavailable
from svcdns.etcd.errors import has_remedy
from svcdns.etcd.login import Login
from svcdns.etcd.messages import Status
from svcdns.registry.replicated import Disagreement, engine_of, login_of
from svcdns.registry.replicated.layout import look
from svcdns.registry.settings import make_settings

from .tls import ends_soon

OLDEST, NEWEST = (3, 4), (3, 6)
"""Versions that svcdns is tried with."""
_ALARM = re.compile(r"alarm:(\w+)")
_ALARMS = {
    "NOSPACE": "it takes no writes until it was compacted and defragmented, and `etcdctl alarm disarm`",
    "CORRUPT": "a member's data differ from those of the others: replace that member",
}


class Tried(NamedTuple):
    """What was found, a line each."""

    mistakes: list[str]
    warnings: list[str]


class Asked(NamedTuple):
    """A member, and how it is, or why it says nothing."""

    url: str
    status: Status | None
    why: str
    is_reticent: bool = False
    """Whether it is there, and tells administrators alone how it is."""


async def tried(config: Config) -> Tried:
    """Try the etcd of a configuration that has one."""
    engine = engine_of(config)
    if engine is None:
        return Tried([], [])
    try:
        members = await asyncio.gather(*(_asked(engine.etcd, url) for url in config.store.etcd))
        mistakes, warnings = judge(members)
        of_certificate = await asyncio.to_thread(judge_certificate, login_of(config))
        mistakes, warnings = mistakes + of_certificate.mistakes, warnings + of_certificate.warnings
        if any(member.status or member.is_reticent for member in members):
            try:
                await look(engine, make_settings(config))
            except (Unavailable, Rejected, Disagreement) as wrong:
                mistakes.append(f"store.etcd: {wrong}")
        return Tried(mistakes, warnings)
    finally:
        await engine.etcd.close()


async def _asked(etcd: Etcd, url: str) -> Asked:
    try:
        return Asked(url, await etcd.status(url), "")
    except Denied as denied:
        return Asked(url, None, str(denied), is_reticent=True)
    except (Unavailable, Rejected) as wrong:
        return Asked(url, None, str(wrong).removeprefix(f"{url}: "))


def judge_certificate(login: Login) -> Tried:
    """Return what is wrong with our own certificate, or soon will be; members may be away."""
    if trouble := login.certificate_trouble():
        return Tried([trouble], [])
    try:
        ends = login.certificate_ends()
    except (OSError, ValueError) as wrong:
        return Tried([f"store.etcd_certificate: {login.certificate} with store.etcd_key: {wrong}"], [])
    if ends and ends_soon(ends):
        return Tried([], [f"store.etcd_certificate: {login.certificate}: expires on {ends}"])
    return Tried([], [])


def judge(members: list[Asked]) -> Tried:
    """Return what is wrong with members, whatever stands in them."""
    away = [
        f"store.etcd: {member.url} can't be used now: {member.why}"
        for member in members
        if member.status is None and not member.is_reticent
    ]
    if len(away) == len(members):
        is_mistake = any(has_remedy(member.why) for member in members)
        return Tried(away, []) if is_mistake else Tried([], away)
    mistakes: list[str] = []
    warnings = away + [
        f"store.etcd: {member.url} tells administrators alone its version and alarms, as etcd 3.4.42 and "
        "newer, 3.5.28 to 31 and 3.6.0 to 11 do: these were not looked at"
        for member in members
        if member.is_reticent
    ]
    there = [(member.url, member.status) for member in members if member.status is not None]
    for url, status in there:
        if status.header.cluster_id != there[0][1].header.cluster_id:
            mistakes.append(
                f"store.etcd: {url} is of another etcd than {there[0][0]}; allowed: members of one"
            )
        if not OLDEST <= _version(status.version) <= NEWEST:
            allowed = "svcdns is tried with 3.4 to 3.6"
            warnings.append(f"store.etcd: {url} is etcd {status.version[:40] or 'of no version'}; {allowed}")
        if not status.leader:
            warnings.append(f"store.etcd: {url} has no leader: too few members are there, or it is cut off")
    warnings += _of_one_name(there)
    for alarm in sorted({name for _, status in there for name in _ALARM.findall(" ".join(status.errors))}):
        mistakes.append(f"store.etcd: alarm {alarm}: {_ALARMS.get(alarm, 'etcd says what it means')}")
    return Tried(mistakes, warnings)


def _of_one_name(there: list[tuple[str, Status]]) -> list[str]:
    """Return warnings of members that say they are the same one, as two do that were begun alone."""
    first: dict[tuple[int, int], str] = {}
    warnings = []
    for url, status in there:
        header = status.header
        twin = first.setdefault((header.cluster_id, header.member_id), url)
        if header.member_id and twin != url:
            warnings.append(
                f"store.etcd: {url} is the same member as {twin}, or was begun alone as that one was: "
                "name each member once, and begin the members of an etcd together"
            )
    return warnings


def _version(text: str) -> tuple[int, ...]:
    """Return (major, minor); () of what is none."""
    found = re.match(r"(\d{1,9})\.(\d{1,9})", text)
    return tuple(map(int, found.groups())) if found else ()
