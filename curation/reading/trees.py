"""OASST message trees: one dialogue for each path from the root to a leaf."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from curation.dialogue import Dialogue
from curation.reading.origins import default_id
from platolm.conversation import ASSISTANT, USER, Message
from platolm.errors import ConversationError

_ROLES = {"prompter": USER, "assistant": ASSISTANT}
_ABOUT_PATHS = ("prompt", "id", "conversations", "message_ids")


def paths_of(tree: Mapping[str, Any], origin: str) -> Iterator[Dialogue]:
    """The paths of a tree, in the order of its replies; a message that was deleted is left out with all below it.

    A path's id is the tree's id, "/" and the id of its last message (without one, the path's number from 1); its
    fields are the tree's (but for the messages) and `message_ids`.

    Raises:
        ConversationError: the record is no tree, or a message of it has another shape.
    """
    prompt = tree.get("prompt")
    if not isinstance(prompt, Mapping):
        raise ConversationError("an OASST tree needs an object 'prompt'")
    tree_id = str(tree.get("message_tree_id") or prompt.get("message_id") or default_id(origin))
    others = {name: value for name, value in tree.items() if name not in _ABOUT_PATHS}
    for number, path in enumerate(_paths(prompt), start=1):
        ids = [node.get("message_id") for node in path]
        messages = tuple(Message(_role(node), _text(node)) for node in path)
        fields = {**others, "language": prompt.get("lang"), "message_ids": ids}
        yield Dialogue(f"{tree_id}/{ids[-1] or number}", messages, origin, fields)


def _paths(root: Mapping[str, Any]) -> Iterator[list[Mapping[str, Any]]]:
    """Without recursion: a tree may be as deep as its file is long."""
    left: list[tuple[int, Mapping[str, Any]]] = [(0, root)] if not root.get("deleted") else []
    path: list[Mapping[str, Any]] = []
    while left:
        depth, node = left.pop()
        path[depth:] = [node]
        replies = [reply for reply in _replies(node) if not reply.get("deleted")]
        if replies:
            left += [(depth + 1, reply) for reply in reversed(replies)]
        else:
            yield list(path)


def _replies(node: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    replies = node.get("replies") or []
    if not isinstance(replies, list) or not all(isinstance(reply, Mapping) for reply in replies):
        raise ConversationError("an OASST message's replies must be a list of objects")
    return replies


def _role(node: Mapping[str, Any]) -> str:
    role = node.get("role")
    if not isinstance(role, str) or not role:
        raise ConversationError("an OASST message needs a string 'role'")
    return _ROLES.get(role.lower(), role)


def _text(node: Mapping[str, Any]) -> str:
    text = node.get("text")
    if not isinstance(text, str):
        raise ConversationError("an OASST message needs a string 'text'")
    return text
