"""svcdns: Kubernetes Services without Kubernetes.

The rooms, in the order in which a write passes them: api -> registry -> (objects, cluster, names)
-> store; a question reads the store through dns. ARCHITECTURE.md draws the picture.
"""

__version__ = "0.1.0"
