"""The stack in containers, from the outside: the override for several GPUs, and how Docker Compose is called."""
