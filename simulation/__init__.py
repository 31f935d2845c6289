"""A discrete-event model of a run: engines by their curves, workers that place conversations as the orchestrator does."""
