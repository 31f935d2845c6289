"""Prometheus metrics of the orchestrator's processes, all of them named `platolm_*`."""
