"""What follows from objects: allocated addresses and ports, readiness, a Service's endpoints.  Pure."""
