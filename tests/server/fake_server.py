"""`svcdns serve` with stand-ins for its children (see fake_child), for machines of any speed.

Five deaths are many however far apart, who starts or ends in order is waited for, and only who is never
ready (the file "never-ready") is waited for less long: SVCDNS_TEST_READY_SECONDS.
"""

import functools
import itertools
import os
import sys
from pathlib import Path

from svcdns.cli import main
from svcdns.server import children, crew, rehearsal, replacement, supervisor

CHILD = (sys.executable, str(Path(__file__).with_name("fake_child.py")))

if __name__ == "__main__":
    children.WITHIN_SECONDS, crew.STOP_SECONDS = 600.0, 40.0
    rehearsal.SECONDS = replacement.READY_SECONDS = 100.0
    data = dict(itertools.pairwise(sys.argv)).get("--data", "nowhere")
    if Path(data, "never-ready").exists():
        seconds = os.environ.get("SVCDNS_TEST_READY_SECONDS", replacement.READY_SECONDS)
        replacement.READY_SECONDS = float(seconds)
    fakes = supervisor.Commands(CHILD, CHILD)
    supervisor.run = functools.partial(supervisor.run, commands=fakes)  # type: ignore[assignment]
    main.main(sys.argv[1:])
