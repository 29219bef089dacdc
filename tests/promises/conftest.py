"""Makes the modules that these tests share importable: `witness`, `calls`, `query_load`, `tracing`."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
