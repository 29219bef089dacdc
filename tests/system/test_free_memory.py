"""Memory that was freed goes back to the system."""

import platform
import subprocess
import sys

import pytest

CODE = """
from svcdns.system import free_memory

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096

blocks = [bytes(4000) for _ in range(10_000)]
kept = blocks[::100]  # so the heap does not end below them
del blocks
before = resident()
free_memory.give_back()
print(before - resident())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library has its own ways")
def test_holes_of_the_heap_are_given_back() -> None:
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    assert int(done.stdout) > 20 * 1_000_000
