"""`platolm chat`: a talk in a terminal, through the orchestrator's API."""
