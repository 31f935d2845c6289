"""What every endpoint shares: keys, bodies, refusals, the description."""
