"""The wall clock of some processes jumps; that of the machine does not, nor the one that waits go by."""

import subprocess
import sys
from pathlib import Path

_SOURCE = Path(__file__).with_suffix(".c")


class Clock:
    """The wall clock of a server's processes, so many seconds from the machine's."""

    def __init__(self, folder: Path, gcc: str) -> None:
        """Compile what they preload (`environ`) into a folder."""
        library = folder / "shifted_clock.so"
        subprocess.run([gcc, "-shared", "-fPIC", "-O1", "-o", library, _SOURCE, "-ldl"], check=True)
        self._file = folder / "shift"
        self._file.write_bytes(bytes(8))
        self.environ = {"LD_PRELOAD": str(library), "SHIFTED_CLOCK": str(self._file)}

    def set(self, seconds: int) -> None:
        """Have it jump."""
        with self._file.open("r+b") as file:
            file.write(seconds.to_bytes(8, sys.byteorder, signed=True))
