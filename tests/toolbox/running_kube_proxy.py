"""The real kube-proxy, in front of a server of ours.

It is no package of any distribution, so it runs where `kube-proxy` is on the PATH or SVCDNS_KUBE_PROXY names
it. Go's modules have it: `go build k8s.io/kubernetes/cmd/kube-proxy` in a module that requires
k8s.io/kubernetes and replaces the modules of its staging folder by their releases.

Rules: call it in a network namespace of its own (`Host.entered`): it makes packet rules, which stay behind.
"""

import contextlib
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from toolbox.waiting import GUARD_SECONDS

KUBE_PROXY = os.environ.get("SVCDNS_KUBE_PROXY") or shutil.which("kube-proxy")
needs_kube_proxy = pytest.mark.skipif(
    KUBE_PROXY is None, reason="kube-proxy is not here; SVCDNS_KUBE_PROXY may name it"
)


@contextlib.contextmanager
def kube_proxy(api: str, folder: Path, node: str, pod_networks: str) -> Iterator[Path]:
    """Run one for a node of this name; give its log.  `pod_networks`: one a family, with a comma between."""
    assert KUBE_PROXY is not None
    kubeconfig, log = folder / "kubeconfig", folder / "log"
    cluster = {"name": "c", "cluster": {"server": api}}
    context = {"name": "c", "context": {"cluster": "c", "user": ""}}
    kubeconfig.write_text(json.dumps({"clusters": [cluster], "contexts": [context], "current-context": "c"}))
    flags = {
        "kubeconfig": kubeconfig,
        "proxy-mode": "nftables",
        "hostname-override": node,
        "cluster-cidr": pod_networks,
        "conntrack-max-per-core": 0,
        "conntrack-tcp-timeout-established": "0s",
        "conntrack-tcp-timeout-close-wait": "0s",
        "metrics-bind-address": "127.0.0.1:10249",
    }
    command = [KUBE_PROXY, *(f"--{name}={value}" for name, value in flags.items())]
    with log.open("w") as out, subprocess.Popen(command, stdout=out, stderr=out) as process:
        try:
            yield log
        finally:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(GUARD_SECONDS)
            process.kill()
