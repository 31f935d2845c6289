"""A discrete-event model of a run: engines by their curves, conversations placed as the orchestrator places them."""
