"""How many engines, workers and hours a run needs: a formula over engines' measured curves."""
