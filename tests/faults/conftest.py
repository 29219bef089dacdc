"""What the fault tests share: the registry's fixtures, and the clients of the promises' tests."""

from __future__ import annotations

import sys
from pathlib import Path

from conftest_registry import run

sys.path.append(str(Path(__file__).parent.parent / "promises"))

__all__ = ["run"]
