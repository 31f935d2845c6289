"""One conversation's life in a worker, and its live events."""
