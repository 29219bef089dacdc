"""The suite itself: what it says at the end of a run."""

import os
import subprocess
import sys
from pathlib import Path


def test_a_run_says_which_package_would_run_what_it_skipped() -> None:
    readme = Path(__file__).with_name("test_readme.py")
    environ = {**os.environ, "CI": "", "PATH": "", "SVCDNS_TEST_SEED": "7"}
    words = (sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(readme), "-k", "page_says")
    done = subprocess.run(words, env=environ, capture_output=True, text=True, timeout=120)
    assert "2 would run with Debian: bind9-dnsutils" in done.stdout, done.stdout + done.stderr
    assert "SVCDNS_TEST_SEED=7" in done.stdout
    failed = subprocess.run(words, env={**environ, "CI": "true"}, capture_output=True, text=True, timeout=120)
    assert "2 failed" in failed.stdout or "2 errors" in failed.stdout, failed.stdout
