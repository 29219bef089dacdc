"""`svcdns serve` with a writer that does nothing: DNS must answer without one."""

import functools
import sys

from svcdns.cli import main
from svcdns.server import supervisor

IDLE = ("sleep", "infinity")

if __name__ == "__main__":
    commands = supervisor.Commands(writer=IDLE)
    supervisor.run = functools.partial(supervisor.run, commands=commands)  # type: ignore[assignment]
    main.main(sys.argv[1:])
