"""The files of the console: how large they are, what they fetch, and that vendored ones are what they say."""

import gzip
import hashlib
import io
import re
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest
from toolbox.console_front import STATIC, static_files

VENDOR = STATIC / "vendor"
LARGEST, LARGEST_COMPRESSED = 120_000, 40_000


def vendored() -> list[list[str]]:
    """Return file, package, version, path, licence and sha256 of each vendored file."""
    return [line.split("  ") for line in (VENDOR / "VENDORED.txt").read_text().splitlines()[2:]]


def test_all_files_are_small() -> None:
    octets = [file.read_bytes() for file in static_files()]
    assert sum(map(len, octets)) <= LARGEST
    assert sum(len(gzip.compress(one, 9)) for one in octets) <= LARGEST_COMPRESSED


def test_vendored_files_are_as_recorded() -> None:
    recorded = {file: sha256 for file, _, _, _, _, sha256 in vendored()}
    found = {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in VENDOR.iterdir()}
    assert {name: sha for name, sha in found.items() if name != "VENDORED.txt"} == recorded


def test_nothing_is_fetched_from_elsewhere_and_nothing_becomes_html() -> None:
    for file in static_files():
        if file.parent == VENDOR:
            continue
        found = re.findall(
            r"https?://|innerHTML|insertAdjacent|document\.write|\beval\(|style=\"", file.read_text()
        )
        assert found == [], file.name
    assert not re.search(r"<script(?![^>]*src=)|<style", (STATIC / "index.html").read_text())


def test_the_page_asks_for_all_its_modules_at_once() -> None:
    index = (STATIC / "index.html").read_text()
    named = set(re.findall(r'(?:href|src)="([^"]+\.m?js)"', index))
    assert named == {
        str(file.relative_to(STATIC)) for file in static_files() if file.suffix in (".js", ".mjs")
    }


@pytest.mark.soak
def test_vendored_files_are_those_of_the_npm_packages(tmp_path: Path) -> None:
    if not shutil.which("npm"):
        pytest.skip("npm is not installed here (Debian: npm)")
    for package, version in {(package, version) for _, package, version, *_ in vendored()}:
        pack = ["npm", "pack", "--silent", f"{package}@{version}"]
        name = subprocess.run(pack, cwd=tmp_path, check=True, capture_output=True, text=True).stdout.strip()
        with tarfile.open(fileobj=io.BytesIO((tmp_path / name).read_bytes())) as tar:
            for file, of, _, path, _, sha256 in vendored():
                if of == package:
                    member = tar.extractfile(f"package/{path}")
                    assert member is not None
                    assert hashlib.sha256(member.read()).hexdigest() == sha256, file
