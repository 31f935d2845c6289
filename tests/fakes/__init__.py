"""Stand-ins for load and fault tests; they never serve as the only proof of anything."""
