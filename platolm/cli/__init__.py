"""The `platolm` command, one module a command group."""
