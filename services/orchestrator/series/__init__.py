"""How runs and engines do over time: workers report, the API samples, and shows the last hour."""
