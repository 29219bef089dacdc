"""Each commit notes how many rows there are; a store that has others is refused."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from toolbox.builders import service
from toolbox.registry_harness import RegistryHarness

import svcdns
from svcdns.objects.kinds import SERVICE
from svcdns.registry.requests import DeleteOptions, WriteOptions
from svcdns.store.damage import Damaged
from svcdns.store.environment import Store, open_store

SOURCE = Path(svcdns.__file__).parent
MAY_BEGIN = {
    "store/environment.py",
    "registry/commit.py",
    "registry/replicated/applying.py",
    "registry/replicated/listing_anew.py",
    "registry/replicated/proposals.py",
    "registry/replicated/relisting.py",
}
"""Where a write transaction of the store is begun, one within another or one that is undone among them; the
cache has an environment of its own."""


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = open_store(tmp_path / "data", "writer")
    with made.write() as txn:
        txn.put(b"layout", (1).to_bytes(8), db=made.tables.meta)
        txn.put(b"a", b"1", db=made.tables.objects)
    yield made
    made.close()


def test_a_whole_store_is_taken(store: Store) -> None:
    store.check()
    with store.write() as txn:
        txn.put(b"b", b"2", db=store.tables.objects)
    store.check()


def test_an_aborted_write_changes_nothing(store: Store) -> None:
    with pytest.raises(KeyError), store.write() as txn:
        txn.put(b"b", b"2", db=store.tables.objects)
        raise KeyError
    store.check()


def test_rows_that_nobody_counted_are_refused(store: Store) -> None:
    with store.env.begin(write=True) as txn:
        txn.put(b"b", b"2", db=store.tables.objects)
    with pytest.raises(Damaged, match="table objects has 2 rows, its last commit left 1"):
        store.check()


def test_a_commit_of_another_time_is_refused(store: Store) -> None:
    with store.env.begin(write=True) as txn:
        txn.put(b"a", b"2", db=store.tables.objects)
    with pytest.raises(Damaged, match="parts of it are of other times"):
        store.check()
    store.check(as_copied=True)


def test_data_of_an_svcdns_that_counted_nothing_are_taken(store: Store) -> None:
    with store.env.begin(write=True) as txn:
        txn.put(b"layout", (1).to_bytes(4), db=store.tables.meta)
        txn.put(b"b", b"2", db=store.tables.objects)
    store.check()


@pytest.mark.parametrize("table", [b"objects", b"meta"])
def test_a_table_that_is_gone_is_refused_and_not_made_anew(
    store: Store, tmp_path: Path, table: bytes
) -> None:
    with store.env.begin(write=True) as txn:
        txn.drop(getattr(store.tables, table.decode()), delete=True)
    folder = Path(store.env.path())
    store.close()
    with pytest.raises(Damaged, match=f"lacks the tables? {table.decode()}"):
        open_store(folder, "writer")


def test_a_table_that_an_older_svcdns_did_not_have_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from svcdns.store import environment

    every = list(environment._NAMES)
    monkeypatch.setattr(environment, "_NAMES", [name for name in every if name != "zone_rows"])
    monkeypatch.setattr(environment, "Tables", _without_zone_rows())
    older = environment.open_store(tmp_path / "data", "writer")
    with older.write() as txn:
        txn.put(b"layout", (1).to_bytes(8), db=older.tables.meta)
    older.close()
    monkeypatch.undo()
    store = open_store(tmp_path / "data", "writer")
    store.check()
    store.close()


def _without_zone_rows() -> type:
    from svcdns.store.environment import Tables

    class Older(Tables):
        def __init__(self, **tables: object) -> None:
            super().__init__(**tables, zone_rows=None)  # type: ignore[arg-type]

    return Older


def test_a_registry_counts_with_each_write(run: object) -> None:
    async def work(running: RegistryHarness) -> None:
        for number in range(20):
            await running.registry.create(SERVICE, "default", service(f"web-{number}"), WriteOptions())
            running.registry.store.check()
        await running.registry.delete(SERVICE, "default", "web-3", DeleteOptions())
        running.registry.store.check()

    run(work)  # type: ignore[operator]


def test_no_write_transaction_is_begun_past_the_counts() -> None:
    """One that is committed without them would have the next start refuse the store."""
    found = {
        str(file.relative_to(SOURCE))
        for file in SOURCE.rglob("*.py")
        if re.search(r"begin\(\s*write=True", file.read_text()) and file.parent.name != "cache"
    }
    assert found <= MAY_BEGIN, "use store.write()"
