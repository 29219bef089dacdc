"""Probes: whether the containers of registered Pods are ready, asked of them themselves.

    Pods ─▶ specs ─▶ prober (when) ─▶ http_check, tcp_check, grpc_check ─▶ verdicts ─▶ condition of the Pod

An API client like any other, in a process of its own: however many Pods are probed, answers never wait for
it.  Rules: a probe goes to the Pod's own address and to nothing else; only transitions are written.
https://kubernetes.io/docs/concepts/workloads/pods/probes/
"""
