"""The worked example of docs/simulators.md is a profile that conforms, and its tables say what is so."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from platolm.conversation import ASSISTANT, USER, Message
from platolm.sampling import PAPERS_SAMPLING, Sampling
from platolm.simulators import PROFILES, SimulatorProfile, Told
from platolm.simulators.cleaning import Cleaned, End
from platolm.simulators.formats import TurnFormat
from platolm.simulators.guardrails import Fault
from platolm.simulators.told import TOLD_FIELDS, render
from platolm.tokenizer import HubTokenizer
from tests.unit.simulators.conformance import ProfileConformance
from tests.unit.simulators.golden import Golden
from tests.unit.simulators.tokenizers import IM_END, IM_START

DOCS = (Path(__file__).parents[3] / "docs" / "simulators.md").read_text(encoding="utf-8")


def documented_profile() -> SimulatorProfile:
    """The class of the first code block, as a reader would write it."""
    module: dict[str, object] = {"__name__": "quizzer"}
    code = re.search(r"```python\n(.*?)```", DOCS, re.DOTALL)
    assert code is not None
    exec(compile(code.group(1), "docs/simulators.md", "exec"), module)
    quizzer = module["Quizzer"]
    assert isinstance(quizzer, type)
    profile = quizzer()
    assert isinstance(profile, SimulatorProfile)
    return profile


QUIZZER = documented_profile()


class TestConformance(ProfileConformance):
    profile = QUIZZER
    tokenizer_name = "chatml"


def test_the_example_composes_what_the_text_says(chatml_folder: Path, chatml: HubTokenizer) -> None:
    turns = [Message(USER, "what is a mole"), Message(ASSISTANT, "An animal.")]
    expected = Golden(chatml_folder)(
        IM_START, "system\nTASK: Learn ten words.", IM_END, "\n",
        IM_START, "user\nwhat is a mole", IM_END, "\n",
        IM_START, "assistant\nAn animal.", IM_END, "\n",
        IM_START, "user\n",
    )  # fmt: skip
    assert QUIZZER.prompts(chatml).ids(turns, Told(goal="Learn ten words.")) == expected.ids
    assert QUIZZER.clean("that is all [[bye]]") == Cleaned("that is all", End.MARKER, "[[bye]]", intact=False)
    assert QUIZZER.sampling(Sampling()) == Sampling(**{**PAPERS_SAMPLING, "temperature": 0.9})
    assert QUIZZER.model_ids is not None
    assert QUIZZER.model_ids.search("quizzer-8b")


def test_the_documented_format_can_be_made() -> None:
    code = re.search(r"^    (TurnFormat\(.*?\))$", DOCS, re.DOTALL | re.MULTILINE)
    assert code is not None
    form = eval(code.group(1), {"TurnFormat": TurnFormat})
    assert form.control_tokens == ("<bos>", "<start_of_turn>", "<end_of_turn>")


def test_the_documented_instruction_can_be_used() -> None:
    code = re.search(r"^(    You are a customer.*?)\n\n[A-Z]", DOCS, re.DOTALL | re.MULTILINE)
    assert code is not None
    instruction = "\n".join(line[4:] for line in code.group(1).split("\n"))
    assert render(instruction, Told(goal="a refund"), end_marker="<end>") == (
        "You are a customer of a phone company.\nWhat you want: a refund\n\n"
        "Write {order number} where you would give one. Leave with <end>"
    )


@pytest.mark.parametrize("name", [*PROFILES, *Fault, *TOLD_FIELDS])
def test_every_profile_fault_and_field_is_documented(name: str) -> None:
    assert re.search(rf"`\{{?{name}\}}?`", DOCS)
