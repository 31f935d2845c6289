"""`platolm compose`: what the stack in containers needs that Docker Compose does not do."""
