"""Aliases in the registry: what clients are told, what Events say, and what is stored.

What names answer is tested in tests/behaviour (rows Q).
"""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from registry.recorded_events import told_of
from toolbox.builders import pod, service
from toolbox.registry_harness import RegistryClock, RegistryHarness, started

from svcdns.config.sections import ApiConfig, Config, DnsConfig
from svcdns.names.alias_rows import alias_row
from svcdns.names.packed import ALIAS, APEX
from svcdns.objects.kinds import NAMESPACE, POD, SERVICE
from svcdns.objects.service_aliases import MOST_ALIASES, read
from svcdns.registry.answer_tables import have_made_anew
from svcdns.registry.requests import DeleteOptions, Patch, WriteOptions
from svcdns.store.environment import open_store
from svcdns.store.snapshot import Snapshots
from svcdns.wire.key import key_of, text_of_key

WRITE = WriteOptions()
NOTE = "svcdns.io/aliases"
EXTERNAL = "external-dns.alpha.kubernetes.io/hostname"
QUIET = ApiConfig(hints=False)
"""Of Services without Pods nothing is said here but what is about their aliases."""
CONFIG = Config(dns=DnsConfig(alias_zones=("home.arpa", "example.com")), api=QUIET)


def aliased(name: str, text: str, note: str = NOTE, **spec: Any) -> dict[str, Any]:
    made = service(name, **spec)
    made["metadata"]["annotations"] = {note: text}
    return made


def warnings_of(tmp_path: Path, *bodies: dict[str, Any], config: Config = CONFIG) -> list[str]:
    """Register Services one after the other; return what clients are told of the last."""

    async def work() -> list[str]:
        async with started(tmp_path / "data", config) as running:
            for body in bodies:
                written = await running.registry.create(SERVICE, "default", body, WRITE)
            return list(written.warnings)

    return asyncio.run(work())


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("nas.example.org", ["below no zone", "add example.org to [dns] alias_zones"]),
        ("a.b.example.org", ["add b.example.org to [dns] alias_zones"]),
        ("nas", ["one label"]),
        ("example.com", ["itself", "name below"]),
        ("nas.cluster.local", ["below no zone"]),
        ("badexample.com", ["below no zone"]),
        ("a..example.com", ["empty label"]),
        ("-a.example.com", ["letters, digits"]),
        ("a b.example.com", ["letters, digits", "commas"]),
        ("_http._tcp.web.example.com", ["RFC 8552"]),
        ("a.*.example.com", ["leftmost"]),
        ("*.*.example.com", ["leftmost"]),
        ("x*.example.com", ["letters, digits"]),
        ("b\u00fccher.example.com", ["A-label", "xn--"]),
        ("\u212a.example.com", ["A-label"]),
        ("a" * 64 + ".example.com", ["63"]),
        ("a." * 130 + "example.com", ["253"]),
        ("a\x07.example.com", ["letters, digits"]),
    ],
)
def test_a_name_that_is_not_taken_is_named_with_its_reason(
    tmp_path: Path, text: str, parts: list[str]
) -> None:
    (said,) = warnings_of(tmp_path, aliased("nas", f"{text}, good.example.com"))
    assert said.startswith(f"metadata.annotations[{NOTE}]: ")
    assert text.replace("\x07", "?")[:70] in said
    assert said.isprintable() and "\n" not in said
    for part in parts:
        assert part in said


@pytest.mark.parametrize(
    "text",
    ["nas.home.arpa", " NAS.Home.Arpa. ,,", "*.home.arpa,\n*.x.example.com", "", " , ", "xn--p1ai.home.arpa"],
)
def test_what_is_taken_is_not_spoken_of(tmp_path: Path, text: str) -> None:
    assert warnings_of(tmp_path, aliased("nas", text)) == []


def test_an_underscore_within_a_label_is_taken_with_a_warning(tmp_path: Path) -> None:
    (said,) = warnings_of(tmp_path, aliased("nas", "my_nas.home.arpa"))
    assert "is answered" in said and "letters, digits" in said


def test_a_pointer_that_is_not_known_is_named(tmp_path: Path) -> None:
    (said,) = warnings_of(tmp_path, aliased("nas", "yes", "svcdns.io/ptr"))
    assert "svcdns.io/ptr" in said and "allowed: alias" in said


def test_who_does_not_ask_for_aliases_is_told_nothing(tmp_path: Path) -> None:
    assert warnings_of(tmp_path, aliased("nas", "nas.example.org", EXTERNAL)) == []
    config = Config(dns=DnsConfig(external_dns_annotation=True), api=QUIET)
    (said,) = warnings_of(tmp_path, aliased("nas2", "nas.example.org", EXTERNAL), config=config)
    assert EXTERNAL in said


def test_a_taken_name_says_by_whom(tmp_path: Path) -> None:
    first, second = aliased("a", "x.home.arpa"), aliased("b", "x.home.arpa, y.home.arpa")
    (said,) = warnings_of(tmp_path, first, second)
    assert "x.home.arpa" in said and "default/a" in said


def test_a_thousand_names_are_bounded_in_names_and_in_words() -> None:
    text = ",".join(f"n{n}.home.arpa" for n in range(1000))
    found = read({NOTE: text}, ("home.arpa",))
    assert list(found.names) == [f"n{n}.home.arpa" for n in range(MOST_ALIASES)]
    assert str(MOST_ALIASES) in str(found.remarks[0])
    assert len(found.remarks) == 21
    assert found.remarks[-1].text.startswith(f"{1000 - MOST_ALIASES - 20} names more")


def test_the_longest_annotation_is_read() -> None:
    """256 KiB of names that are none, of one name, and of commas."""
    for text in ("x," * (128 << 10), "x" * (256 << 10), "," * (256 << 10), "*." * (128 << 10)):
        found = read({NOTE: text}, ("home.arpa",))
        assert not found.names
        assert 1 <= len(found.remarks) <= 22
        assert all(len(remark.text) < 300 for remark in found.remarks)


@given(
    st.text(max_size=40) | st.lists(st.sampled_from(["a", "*", "_b", "", "home", "arpa", "A"])).map(".".join)
)
def test_whatever_is_written_gives_names_below_the_zones(text: str) -> None:
    found = read({NOTE: text}, ("home.arpa",))
    for name in found.names:
        assert name.endswith(".home.arpa")
        assert name == name.lower() and len(name) <= 253
    assert all(remark.text.isprintable() for remark in found.remarks)


async def test_events_say_who_has_an_alias(tmp_path: Path, at_once: None) -> None:
    async with started(tmp_path / "data", CONFIG) as running:
        registry = running.registry
        await registry.create(SERVICE, "default", aliased("a", "x.home.arpa, x.example.org"), WRITE)
        await registry.create(SERVICE, "default", aliased("b", "x.home.arpa"), WRITE)
        found = await told_of(running, "involvedObject.name=a", "AliasNotTaken")
        assert any("add example.org to [dns] alias_zones" in text for _, text, _ in found)
        found = await told_of(running, "involvedObject.name=b", "AliasTaken")
        assert any("x.home.arpa" in text and "default/a" in text for _, text, _ in found)
        await registry.delete(SERVICE, "default", "a", DeleteOptions())
        found = await told_of(running, "involvedObject.name=b", "AliasGiven")
        assert any("x.home.arpa" in text and "default/a" in text for _, text, _ in found)


# Who has what: a simple model, and the same made from nothing

NAMES = ["a.home.arpa", "b.home.arpa", "*.home.arpa"]
WHO = [("default", "one"), ("default", "two"), ("shop", "one"), ("shop", "three")]
STEPS = st.lists(
    st.tuples(
        st.sampled_from(WHO),
        st.none() | st.lists(st.sampled_from(NAMES), max_size=3),
        st.booleans(),
        st.sampled_from([None, "alias"]),
    ),
    max_size=20,
)
"""Who, which aliases it is to have (None: it goes), whether a second passes before, and where PTRs lead."""


@settings(max_examples=40)
@given(steps=STEPS)
def test_the_oldest_has_an_alias_whatever_comes_and_goes(steps: list[Any]) -> None:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        clock = RegistryClock()
        clock.tick_in(patch)
        expected, rows = asyncio.run(_written(Path(folder), steps, clock))
        assert {text_of_key(key): value for key, value in rows.items() if value[0] & ALIAS} == {
            f"{alias}.": alias_row(key_of(f"{name}.{namespace}.svc.cluster.local"))
            for alias, (namespace, name) in expected.items()
        }
        assert asyncio.run(_made_anew(Path(folder))) == rows


async def _written(
    folder: Path, steps: list[Any], clock: RegistryClock
) -> tuple[dict[str, tuple[str, str]], dict[bytes, bytes]]:
    """Write; return who has which alias by a model of two lines, and all rows."""
    asked: dict[tuple[str, str], tuple[int, list[str]]] = {}
    async with started(folder, CONFIG) as running:
        registry = running.registry
        await registry.create(NAMESPACE, "", {"metadata": {"name": "shop"}}, WRITE)
        for who, names, passes, pointer in steps:
            clock.seconds += passes
            notes = {NOTE: ",".join(names or []), "svcdns.io/ptr": pointer}
            if names is None:
                if asked.pop(who, None):
                    await registry.delete(SERVICE, *who, DeleteOptions())
                continue
            if who not in asked:
                await registry.create(SERVICE, who[0], service(who[1]), WRITE)
            patch = Patch("merge", {"metadata": {"annotations": notes}})
            await registry.patch(SERVICE, *who, patch, WRITE)
            asked[who] = asked.get(who, (clock.seconds, []))[0], names
        rows = _rows(running)
    oldest_first = sorted(asked, key=lambda who: (asked[who][0], who))
    return {alias: who for who in reversed(oldest_first) for alias in asked[who][1]}, rows


async def _made_anew(folder: Path) -> dict[bytes, bytes]:
    """Return the rows that follow from the objects alone, as after a change of settings."""
    store = open_store(folder, "writer")
    with store.write() as txn:
        have_made_anew(store, txn)
    store.close()
    async with started(folder, CONFIG) as running:
        return _rows(running)


def _rows(running: RegistryHarness) -> dict[bytes, bytes]:
    with Snapshots(running.registry.store).begin() as snapshot:
        cursor = snapshot.txn.cursor(db=snapshot.answers)
        return {bytes(key): bytes(row) for key, row in cursor if not row[0] & APEX}


async def test_other_zones_give_other_aliases_at_the_next_start(tmp_path: Path) -> None:
    holders = []
    for zones in ((), ("home.arpa",), ("example.com",), ()):
        config = Config(dns=DnsConfig(alias_zones=zones))
        async with started(tmp_path / "data", config) as running:
            if not holders:
                await running.registry.create(
                    SERVICE, "default", aliased("a", "x.home.arpa, x.example.com"), WRITE
                )
            rows = _rows(running)
            holders.append([text_of_key(key) for key, row in rows.items() if row[0] & ALIAS])
    assert holders == [[], ["x.home.arpa."], ["x.example.com."], []]


async def test_a_change_of_endpoints_writes_no_row_of_an_alias(tmp_path: Path) -> None:
    """However many aliases a Service has: they only name it."""
    changed = []
    for aliases in ("", ",".join(f"n{n}.home.arpa" for n in range(MOST_ALIASES))):
        async with started(tmp_path / str(len(aliases)), CONFIG) as running:
            await running.registry.create(
                SERVICE, "default", aliased("web", aliases, clusterIP="None"), WRITE
            )
            before = _rows(running)
            await running.registry.create(POD, "default", pod("web-1", "10.1.0.1"), WRITE)
            after = _rows(running)
            changed.append({key for key in before | after if before.get(key) != after.get(key)})
    assert changed[0] == changed[1]


async def test_a_dry_run_takes_no_alias(tmp_path: Path) -> None:
    async with started(tmp_path / "data", CONFIG) as running:
        body = aliased("a", "x.home.arpa, x.example.org")
        written = await running.registry.create(SERVICE, "default", body, WriteOptions(dry_run=True))
        assert len(written.warnings) == 1
        assert not [key for key, row in _rows(running).items() if row[0] & ALIAS]
