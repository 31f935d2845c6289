"""The processes of the stack; they share `platolm` and do not import one another."""
