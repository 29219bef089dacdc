"""Which engine a process gets, with rights and without."""

import os
import subprocess
import sys

import pytest
from toolbox.running_server import SOURCE

from svcdns.proxy.choice import choose
from svcdns.proxy.engine import EngineError

WITHOUT_RIGHTS = """
import os
from svcdns.proxy.choice import choose
from svcdns.proxy.engine import EngineError
if os.geteuid() == 0:
    os.setgroups([]); os.setgid(65534); os.setuid(65534)
print(choose("auto").engine, "CAP_NET_ADMIN" in choose("auto").missing)
try:
    choose("nft")
except EngineError as refused:
    print(refused)
"""


def test_without_rights_it_is_user_and_says_what_is_missing() -> None:
    environ = {**os.environ, "PYTHONPATH": str(SOURCE), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run([sys.executable, "-c", WITHOUT_RIGHTS], capture_output=True, text=True, env=environ)
    first, second = done.stdout.splitlines()
    assert first == "user True"
    assert "nft cannot be used here" in second and "CAP_NET_ADMIN" in second


def test_root_gets_nft_in_a_namespace(may_make_hosts: None) -> None:
    assert choose("auto") == ("nft", "")
    assert choose("nft") == ("nft", "")


def test_who_wants_user_gets_it() -> None:
    assert choose("user").engine == "user"


def test_an_old_kernel_has_no_nft(monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.uname()
    monkeypatch.setattr(os, "uname", lambda: os.uname_result((*real[:2], "5.4.0-150-generic", *real[3:])))
    assert choose("auto").engine == "user"
    with pytest.raises(EngineError, match=r"5\.4\.0"):
        choose("nft")
