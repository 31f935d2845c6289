"""Local processes: guarded children, and the whole stack on one machine."""
