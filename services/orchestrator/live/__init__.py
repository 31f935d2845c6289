"""What happens now, as server-sent events: all runs, one run, or one conversation token by token."""
