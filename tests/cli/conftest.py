"""A folder of certificates."""

from pathlib import Path

import pytest
from cli.in_process import write

from svcdns.cli import certificates


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with certs/ of a CA, as `certs init` makes it."""
    (tmp_path / "certs").mkdir()
    ca = certificates.make_ca()
    pairs = {
        "ca": ca,
        "server": certificates.make_server(ca, ["localhost"]),
        "client": certificates.make_client(ca, "admin", ["svcdns:admins"]),
    }
    for name, pair in pairs.items():
        write(tmp_path, name, pair)
    return tmp_path
