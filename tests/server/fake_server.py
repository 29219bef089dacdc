"""`svcdns serve` with stand-ins for its children (see fake_child)."""

import functools
import sys
from pathlib import Path

from svcdns.cli import main
from svcdns.server import supervisor

CHILD = (sys.executable, str(Path(__file__).with_name("fake_child.py")))

if __name__ == "__main__":
    fakes = supervisor.Commands(CHILD, CHILD)
    supervisor.run = functools.partial(supervisor.run, commands=fakes)  # type: ignore[assignment]
    main.main(sys.argv[1:])
