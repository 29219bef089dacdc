"""The new code's part of an upgrade before it is in charge: the rehearsal (see svcdns.server.rehearsal)."""

from __future__ import annotations

import importlib
import json

import lmdb
import typer

from svcdns.config.load import of_spelt, spelt_options
from svcdns.config.sections import Config
from svcdns.names.packed import LAYOUT
from svcdns.registry.answer_tables import layout_of
from svcdns.server.succession import Legacy
from svcdns.store.environment import NotThere, open_store

from .check import mistakes_in_files
from .outcome import MISTAKE, OK, say

CHILDREN = ("writer", "worker", "forwarder")


def rehearse(legacy: Legacy, config: Config) -> int:
    """Say what keeps this code from taking over a running server; where nothing does, print `config` as JSON.

    Mistakes that `svcdns serve` finds by itself have been found before.  Returns the exit code.
    """
    for name in CHILDREN:
        importlib.import_module(f"svcdns.server.{name}")  # a broken installation shows here
    mistakes = _restarts(of_spelt(legacy.config), config) or [*_layouts(config), *mistakes_in_files(config)]
    for line in mistakes:
        say(line)
    if not mistakes:
        typer.echo(json.dumps(spelt_options(config)))
    return MISTAKE if mistakes else OK


def _restarts(before: Config, config: Config) -> list[str]:
    """Return what can't be changed while the process stays the same."""
    return [
        f"{option}: {old or 'none'} becomes {new or 'none'}, which takes a restart instead of an upgrade"
        for option, old, new in (("data", before.data, config.data), ("user", before.user, config.user))
        if old != new
    ]


def _layouts(config: Config) -> list[str]:
    """Both versions answer from the same data for a moment, so both have to read them alike."""
    try:
        store = open_store(config.data, "reader")
    except (NotThere, lmdb.Error):
        return []  # the old version lives with it too
    try:
        layout = layout_of(store)
    finally:
        store.close()
    if layout in (None, LAYOUT):
        return []
    return [f"the data have layout {layout}, this svcdns has layout {LAYOUT}: restart the server instead"]
