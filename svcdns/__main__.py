"""`python -m svcdns`: the same as the `svcdns` command."""

from __future__ import annotations

from svcdns.cli.start import main

if __name__ == "__main__":
    main()
