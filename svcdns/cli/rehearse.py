"""What the new code does as the rehearsal of an upgrade (see svcdns.server.rehearsal): it finds mistakes."""

from __future__ import annotations

import importlib

import lmdb

from svcdns.config.load import from_json
from svcdns.config.sections import Config
from svcdns.names.packed import LAYOUT
from svcdns.registry.answer_tables import stored_layout
from svcdns.server.succession import Legacy
from svcdns.store.environment import NotThere, open_store

from . import check

CHILDREN = ("supervisor", "writer", "worker", "forwarder")


def mistakes(legacy: Legacy, config: Config) -> list[str]:
    """Return what keeps this code from taking over a running server, a line each.

    Mistakes that `svcdns serve` finds by itself have been found before.
    """
    for name in CHILDREN:
        importlib.import_module(f"svcdns.server.{name}")  # a broken installation shows here
    before = from_json(legacy.config)
    found = [
        f"{option}: {old or 'none'} becomes {new or 'none'}, which takes a restart instead of an upgrade"
        for option, old, new in (("data", before.data, config.data), ("user", before.user, config.user))
        if old != new
    ]
    return found or [*_other_layout(config), *check.check(config)[0]]


def _other_layout(config: Config) -> list[str]:
    """Both versions answer from the same data for a moment, so both have to read them alike."""
    try:
        store = open_store(config.data, "reader")
    except (NotThere, lmdb.Error):
        return []  # the old version lives with it too
    try:
        layout = stored_layout(store)
    finally:
        store.close()
    if layout in (None, LAYOUT):
        return []
    return [f"the data have layout {layout}, this svcdns has layout {LAYOUT}: restart the server instead"]
