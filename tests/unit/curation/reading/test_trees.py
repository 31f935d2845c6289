"""Paths of OASST trees."""

from __future__ import annotations

from typing import Any

from curation.dialogue import Dialogue
from curation.reading import Unreadable, dialogues_of
from platolm.conversation import Message


def node(name: str, role: str, *replies: dict[str, Any], **others: Any) -> dict[str, Any]:
    return {"message_id": name, "role": role, "text": f"text {name}", "replies": list(replies), **others}


TREE = {
    "message_tree_id": "t",
    "tree_state": "ready",
    "prompt": node(
        "q1",
        "prompter",
        node("a1", "assistant", node("q2", "prompter", node("a3", "assistant")), node("q3", "prompter")),
        node("a2", "assistant"),
        lang="en",
    ),
}


def paths(tree: Any) -> list[Dialogue]:
    return [found for found in dialogues_of(tree, "o:1") if isinstance(found, Dialogue)]


def test_each_path_from_root_to_leaf_is_a_dialogue() -> None:
    found = paths(TREE)
    assert [path.id for path in found] == ["t/a3", "t/q3", "t/a2"]
    assert [path.fields["message_ids"] for path in found] == [
        ["q1", "a1", "q2", "a3"],
        ["q1", "a1", "q3"],
        ["q1", "a2"],
    ]
    assert found[2].messages == (Message("user", "text q1"), Message("assistant", "text a2"))
    assert found[0].fields == {
        "tree_state": "ready",
        "message_tree_id": "t",
        "language": "en",
        "message_ids": ["q1", "a1", "q2", "a3"],
    }


def test_a_deleted_message_takes_what_is_below_it_along() -> None:
    tree = {"prompt": node("q", "prompter", node("a", "assistant", node("b", "prompter"), deleted=True))}
    assert [path.fields["message_ids"] for path in paths(tree)] == [["q"]]
    assert paths({"prompt": node("q", "prompter", deleted=True)}) == []


def test_a_tree_without_ids_numbers_its_paths() -> None:
    leaf: dict[str, Any] = {"role": "assistant", "text": "a"}
    tree = {"prompt": {"role": "prompter", "text": "q", "replies": [leaf, leaf]}}
    assert [path.id for path in paths(tree)] == ["o:1/1", "o:1/2"]


def test_a_very_deep_tree_is_one_path() -> None:
    deep = node("leaf", "assistant")
    for depth in range(5000):
        deep = node(str(depth), "prompter", deep)
    (path,) = paths({"prompt": deep})
    assert len(path.messages) == 5001


def test_a_message_of_another_shape_is_named() -> None:
    broken = {"prompt": node("q", "prompter", {"role": "assistant", "text": None})}
    assert list(dialogues_of(broken, "o:1")) == [Unreadable("o:1", "an OASST message needs a string 'text'")]
