"""What is done once the process of the tests has ended, killed or not, to remove what it made elsewhere.

    after_the_end("umount", "--lazy", "/somewhere")

A shell in a session of its own reads commands from a pipe to its end, which comes with that of the tests'
process, and runs them.  So they have to be such that they do nothing where a test has removed all by itself.
"""

import shlex
import subprocess
from functools import cache
from typing import IO


def after_the_end(*command: str) -> None:
    """Have a command run, after those that were named before."""
    pipe = _pipe()
    pipe.write(f"{shlex.join(command)}\n")
    pipe.flush()


@cache
def _pipe() -> IO[str]:
    """Start the shell; no child of the tests inherits the pipe, or it would not end."""
    command = ["sh", "-c", 'commands=$(cat); cd /; eval "$commands"']
    quiet = subprocess.DEVNULL
    started = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=quiet, stderr=quiet, text=True, start_new_session=True
    )
    assert started.stdin is not None
    return started.stdin
