"""What a page shows round an answer goes; the answer and its code stay as they are."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.clean.furniture import Furniture, without_furniture
from curation.dialogue import Dialogue
from platolm.conversation import Message


@pytest.mark.parametrize(
    ("shown", "answer"),
    [
        ("1 / 2\n\nHello", "Hello"),
        ("ChatGPT\n1 / 2\nHello\n\n2 / 2\n", "Hello"),
        ("ChatGPT said:\n\nHello", "Hello"),
        ("Model: Default (GPT-3.5)\nHello", "Hello"),
        ("a\n\nCopy code\n\nb", "a\n\nb"),
        ("a\nRegenerate response", "a"),
        ("Copy12 chars / 3 words\na", "a"),
        ("```python\nCopy code\nx = 1\n```", "```python\nx = 1\n```"),
        ("```\npythonCopy codex = 1\n  y\n```", "```python\nx = 1\n  y\n```"),
        ("```pythonCopy code\nx\n```", "```python\nx\n```"),
        ("```python\npythonCopyEditx\n```", "```python\nx\n```"),
        ("```\npython\nCopy code\nx\n```", "```python\nx\n```"),
        ("```js\nscssCopy code\nx\n```", "```js\nx\n```"),
        ("Here:\n\npython\n\nCopy code\n\n```\nx\n```\nso", "Here:\n\n```python\nx\n```\nso"),
        ("Here:\n\nbash\n\n```bash\nls\n```", "Here:\n\n```bash\nls\n```"),
        ("- a\n\n  ```\n  cssCopy code\n  x {\n  }\n  ```", "- a\n\n  ```css\n  x {\n  }\n  ```"),
        ("> ```\n> Copy code\n> x\n> ```", "> ```\n> x\n> ```"),
        ("~~~\nCopy code\nx\n~~~", "~~~\nx\n~~~"),
        ("a\npythonCopy code\n```\nx\n```", "a\n```python\nx\n```"),
        ("So\n\nbashCopy code\nls", "So\n\nbash\nls"),
        ("ChatGPT\nRegenerate response\n1 / 2\nHello\n2 / 2\nCopy code", "Hello"),
        ("sh\n\nsh\n\n```sh\nls\n```", "```sh\nls\n```"),
        ("````md\n```\nCopy code\n```\n````\nCopy code", "````md\n```\nCopy code\n```\n````"),
    ],
)
def test_furniture_goes(shown: str, answer: str) -> None:
    assert without_furniture(shown) == answer


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "1 / 2",
        "It is\n\n3 / 2",
        "1/2\nHello",
        "Model: Corolla\nHello",
        "Cut or\nCopy",
        "ChatGPT",
        "Copy code",
        "I am ChatGPT.\n\n\n\nYou said 1 / 2 and Copy code.\n",
        "So:\n1 / 2\nis a half",
        "```\nx\n1 / 2\nRegenerate response\n```",
        "```\na\nb\nCopy code\n```",
        "Python\n\n```python\nx\n```",
        "Use python\n\n```\nx\n```",
        "bash\n\ntext\n\n```bash\nls\n```",
        "  indented\n\n\n# ChatGPT\n",
        "`Copy code`",
    ],
)
def test_an_answer_that_only_resembles_it_stays_to_the_last_byte(answer: str) -> None:
    assert without_furniture(answer) == answer


LINES = st.text(st.sampled_from("ab1 /:#-"), max_size=8)
CODE = st.lists(LINES | st.sampled_from(["1 / 2", "ChatGPT", "Regenerate response", "  x", "", "Copy"]), max_size=5)
FENCES = st.sampled_from(["```", "````", "~~~", "```python"])


@given(
    text=st.lists(LINES | st.sampled_from(["Copy code", "1 / 2", "python", ""]), max_size=5),
    code=CODE,
    fence=FENCES,
    after=st.lists(LINES | st.sampled_from(["Copy code", "2 / 2"]), max_size=3),
)
def test_code_is_not_touched(text: list[str], code: list[str], fence: str, after: list[str]) -> None:
    closing = fence.removesuffix("python")
    block = "\n".join([fence, *code, closing])
    cleared = without_furniture("\n".join([*text, block, *after]))
    assert "\n".join([*code, closing]) in cleared


LINES_OF_PAGES = ["Copy code", "1 / 2", "2 / 2", "ChatGPT", "python", "```", "```python", "~~~", "", "x", "CopyEdit"]
LINES_OF_PAGES += ["Regenerate response", "pythonCopy code", "Copy codex", "> ```", "  ```", "ChatGPT said:", "````"]


@settings(max_examples=500)
@given(st.lists(st.sampled_from(LINES_OF_PAGES), max_size=12).map("\n".join))
def test_a_second_time_nothing_more_goes(text: str) -> None:
    once = without_furniture(text)
    assert without_furniture(once) == once


@pytest.mark.parametrize("lines", [["python"], ["1 / 2", "Copy code"], ["```", "Copy code"], ["", "Copy code"], ["`"]])
def test_a_long_text_takes_no_more_than_its_share(lines: list[str]) -> None:
    took_s = []
    for size in (1 << 16, 1 << 18):
        text = "\n".join([*lines * (size // len("".join(lines) + " ")), "```python", "x", "```"])
        began = time.process_time()
        without_furniture(text)
        took_s.append(time.process_time() - began)
    assert took_s[1] < 8 * max(took_s[0], 0.1)


@given(st.text(st.sampled_from("`~\n >Cabd12/- ") | st.sampled_from("xyz"), max_size=30) | st.text(max_size=20))
def test_nothing_raises_an_error_and_words_are_not_invented(text: str) -> None:
    cleared = without_furniture(f"Copy code\n{text}\nCopy code")
    assert sorted(set(cleared) - set(f"Copy code\n{text}")) == []


def test_the_stage_leaves_what_a_person_typed() -> None:
    dialogue = Dialogue("d", (Message("user", "1 / 2\nCopy code"), Message("assistant", "1 / 2\nHello")))
    after = Furniture().apply(dialogue)
    assert isinstance(after, Dialogue)
    assert [message.content for message in after.messages] == ["1 / 2\nCopy code", "Hello"]
