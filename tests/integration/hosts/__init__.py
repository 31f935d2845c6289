"""The orchestrator over several hosts, which are network namespaces of this one, and what comes between them."""
