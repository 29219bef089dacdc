"""proxy: the API through kubectl's own port, for programs that know nothing of kubeconfigs."""

import json
import re
import urllib.request

from toolbox.running_kubectl import Kubectl
from toolbox.waiting import GUARD_SECONDS


def test_proxy(kubectl: Kubectl, web: object) -> None:
    with kubectl.started("proxy", "--port=0") as lines:
        found = re.fullmatch(r"Starting to serve on (127\.0\.0\.1:\d+)", lines.next())
        assert found is not None
        path = f"http://{found[1]}/api/v1/namespaces/{kubectl.namespace}/services/web"
        with urllib.request.urlopen(path, timeout=GUARD_SECONDS) as answer:
            assert json.load(answer)["metadata"]["name"] == "web"
