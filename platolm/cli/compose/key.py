"""`platolm compose key`: the key of a stack in containers."""

from __future__ import annotations

from platolm.compose.docker import running_key


def key() -> None:
    """Print the key that the API and both models of the running stack ask for.

    The stack makes one at its first start where `.env` names none.
    """
    print(running_key())
