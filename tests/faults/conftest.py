"""What the fault tests share: the registry's fixtures, and the clients of other tests."""

from __future__ import annotations

import sys
from pathlib import Path

from conftest_registry import run

HERE = Path(__file__).parent
for folder in (HERE, HERE.parent / "promises", HERE.parent / "forwarding"):
    sys.path.append(str(folder))

__all__ = ["run"]
