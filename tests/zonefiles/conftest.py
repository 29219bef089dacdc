"""Fixtures of the tests of zone files."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from zonefiles.zone_folder_harness import ZoneFolderHarness


@pytest.fixture
def world(tmp_path: Path) -> Iterator[ZoneFolderHarness]:
    world = ZoneFolderHarness(tmp_path)
    world.serve()
    yield world
    world.store.close()
