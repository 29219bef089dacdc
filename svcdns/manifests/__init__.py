"""Files of Kubernetes objects that are applied at start."""
